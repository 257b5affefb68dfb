"""How a run is made."""

from __future__ import annotations

from dataclasses import dataclass

EXPERIMENTS = {
    "installation": "all callers start within a second, as in the installation of an application",
    "callers": "callers come, then a third stays, a third is frozen, a third is killed",
    "redeploy": "all callers are replaced, twice; the old ones stay frozen",
    "redeploy-proxy": "the proxy is deployed anew under callers; its old environments stay frozen",
    "zombies": "callers and then the proxy vanish without FIN; until the server has noticed",
    "beyond": "more callers than a machine carries, simulated",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Attributes of a run.

    Attributes:
        experiments: keys of `EXPERIMENTS`.
        callers: how many there are in *installation* and *callers*, one case for each number.
        replaced: how many there are in the other ones.
        simulated: how many there are in *beyond*.
        queries: that a caller sends at one time, a page.
        reserved: the function's reserved concurrency.
        pool: its ``ODM_PROXY_MAX_POOL_SIZE``.
        hold_s: for how long the server is watched when the callers do nothing more.
        linger_s: how long old environments of the proxy stay after its deployment.
        keepalive_s: ``tcp_keepalive_time`` of this network namespace; 0 if it is the machine's, and
            too long to wait for.
    """

    experiments: tuple[str, ...] = tuple(EXPERIMENTS)
    callers: tuple[int, ...] = (8, 30, 100, 300)
    replaced: int = 100
    simulated: tuple[int, ...] = (1_000, 3_000, 10_000)
    queries: int = 10
    reserved: int = 15
    pool: int = 4
    hold_s: float = 3.0
    linger_s: float = 5.0
    keepalive_s: int = 0

    def __post_init__(self) -> None:
        unknown = [name for name in self.experiments if name not in EXPERIMENTS]
        if unknown:
            raise ValueError(f"no experiment {unknown[0]!r}: there are {', '.join(EXPERIMENTS)}")
        numbers = (*self.callers, *self.simulated, self.replaced)
        if min((*numbers, self.queries, self.reserved, self.pool)) < 1:
            raise ValueError("callers, queries, reserved concurrency and pool are 1 or more")

    @property
    def ceiling(self) -> int:
        """The most connections of the function that the server may see."""
        return self.reserved * (self.pool + 1)
