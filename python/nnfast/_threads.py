"""How many threads a call may use."""

from nnfast import _core


def resolve_threads(n_jobs: int | None) -> int:
    """All threads that the process may use, at most ``n_jobs``; -1 is all, -2 all but one, as in joblib."""
    available = _core.max_threads()
    if n_jobs is None:
        return available
    if n_jobs == 0:
        raise ValueError("n_jobs == 0 has no meaning")
    return min(n_jobs, available) if n_jobs > 0 else max(1, available + 1 + n_jobs)
