"""Work for models and documents: ordinary steps and workflows on the engine, nothing that the engine knows of."""
