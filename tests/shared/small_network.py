"""A network of the composer that is small and depends on all it has read."""

import numpy as np

from kelly_edge.music import compound_word as cw
from kelly_edge.music.known_runs import KnownRuns
from kelly_edge.music.sampling import Floats, HeadTables, KvCache

N_HEADS, WIDTH, CONTEXT = len(cw.SAMPLED), 8, 128


class SmallNetwork:
    """Contexts are a fixed mixture of all rows read: what is composed depends on the whole cache."""

    context = CONTEXT

    def __init__(self) -> None:
        rng = np.random.default_rng(7)
        parents = [cw.FAMILIES[cw.COLUMN[p]].size for family in cw.SAMPLED for p in family.parents]
        sizes = [family.size for family in cw.SAMPLED]
        biases = [np.zeros(n, np.float32) for n in sizes]
        biases[0][cw.NOTE] = 3.5  # bars of some notes
        self.known_runs = KnownRuns(np.zeros(1, np.uint8))
        self.tables = HeadTables(
            rng.normal(size=(N_HEADS, WIDTH)).astype(np.float32),
            tuple(0.5 * rng.normal(size=(n, WIDTH)).astype(np.float32) for n in parents),
            tuple(0.5 * rng.normal(size=(WIDTH, n)).astype(np.float32) for n in sizes),
            tuple(biases),
            0.5 * rng.normal(size=(2, WIDTH)).astype(np.float32),
        )
        self.embedding = rng.normal(size=(cw.OFFSETS[-1], WIDTH)).astype(np.float32)
        self.mixing = rng.normal(size=(N_HEADS, WIDTH, WIDTH)).astype(np.float32)
        self.n_steps = 0
        self.n_caches = 0

    def new_cache(self) -> KvCache:
        self.n_caches += 1
        shape = (1, 1, CONTEXT, WIDTH)
        return KvCache(np.zeros(shape, np.float32), np.zeros(shape, np.float32))

    def step(self, row: cw.Rows, cache: KvCache, n_rows: int, contexts: Floats) -> None:
        assert 0 <= n_rows < CONTEXT
        self.n_steps += 1
        cache.keys[0, 0, n_rows] = self.embedding[row + np.array(cw.OFFSETS[:-1])].sum(0)
        ages = np.arange(n_rows, -1, -1)[:, None]
        seen = (cache.keys[0, 0, : n_rows + 1] * 0.8**ages).sum(0)
        contexts[:] = np.tanh(self.mixing @ seen / 3.0)
