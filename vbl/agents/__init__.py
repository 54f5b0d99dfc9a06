"""Work for models and documents: ordinary steps and workflows on the engine, nothing that the engine knows of."""

from vbl.agents.usage import record_usage

__all__ = ["record_usage"]
