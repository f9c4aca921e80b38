"""Commands of ``vpp`` that train, measure and export: one module each, declared as entry points in ``vpp.commands``."""
