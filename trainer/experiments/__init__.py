"""Compare estimators, budgets and kinds of access on the sandbox: ``python -m trainer.experiments --out DIR``.

Every cell of the table trains one protector, with one seed, in a process and a thread of its own, and is measured by a
fresh attacker: its leak is what that reads from test pictures as they would be sent, its utility what the chat model
still answers about them. Both are scaled, 0 at chance and 1 on originals. A finished cell is one line of
``DIR/results.jsonl``; a command that is repeated goes on with the cells that are missing. The chat model is the
sandbox's own, asked in process through the same interface, which gives the same answers as its server.

The white box trains in the same way with the chat model's true gradients. It bounds what an estimate can reach only
where training is long enough for the gradient to be what limits it: in short runs the seeds differ by more, and an
estimator may come out above it. The classical operators give points without any training. What loses stays in the
table.
"""
