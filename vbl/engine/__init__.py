"""What makes runs move: definitions, the deterministic loop, attempts, the lease and the supervisor."""
