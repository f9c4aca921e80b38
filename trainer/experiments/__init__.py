"""Comparison of estimators, budgets and kinds of access on the sandbox: ``python -m trainer.experiments --out DIR``.

Every cell of the table trains one protector, with one seed, in a process and a thread of its own, and is measured by a
fresh attacker. Leak is the attacker's accuracy on test pictures as they would be sent, utility the chat model's
accuracy on them; both are scaled, 0 at chance and 1 on originals. A finished cell is one line of
``DIR/results.jsonl``; the same command continues with the missing cells. The chat model is the sandbox's own, asked in
process through LangChain's interface, which gives the same answers as its server.

The white box trains in the same way with the chat model's true gradients. It bounds an estimate only where training is
long enough for the gradient to be the limit: in short runs the seeds differ by more, and an estimator may come out
above it. The classical operators give points without any training. Methods that lose stay in the table.
"""
