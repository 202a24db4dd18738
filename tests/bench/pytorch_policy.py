"""pytorch_policy.py: how much device memory PyTorch's caching allocator would reserve for a trace, and how often it would
ask the driver. Our own model, written from what its documentation says of its default policy:

  * a size is rounded up to a multiple of 512 bytes
  * blocks of at most 1 MiB come from *small* segments of 2 MiB; larger ones from segments of 20 MiB when they are smaller
    than 10 MiB, else from a segment of their own, rounded up to 2 MiB. The two kinds never mix
  * the smallest free block that fits is taken; the rest of it is split off when it is at least 512 bytes (small), or
    more than 1 MiB (large)
  * a freed block merges with free neighbours of its segment
  * segments are kept; when the device is full all that are free are given back, and the driver is asked once more

One stream: a freed block can be used again at once, which is the best case. Nothing here waits for a device."""
import bisect

MIB = 1 << 20
ROUND, SMALL, SMALL_SEGMENT, LARGE_SEGMENT, LARGE_FROM, LARGE_ROUND = 512, MIB, 2 * MIB, 20 * MIB, 10 * MIB, 2 * MIB


class Block:
    __slots__ = ("size", "small", "free", "left", "right", "place")

    def __init__(self, size, small, place):
        self.size, self.small, self.place = size, small, place  # place: number of the segment, offset in it
        self.free, self.left, self.right = False, None, None


class Allocator:
    def __init__(self, capacity):
        self.capacity = capacity
        self.free = {True: [], False: []}  # sorted (size, place, block); of equals the first place wins
        self.reserved = self.peak_reserved = self.live = self.peak_live = 0
        self.driver_allocs = self.driver_frees = self.failed = 0
        self.segments = 0

    def alloc(self, asked):
        """A block, or None where the program would see out of memory."""
        size = max(ROUND, -(-asked // ROUND) * ROUND)
        small = size <= SMALL
        block = self._best(size, small) or self._grow(size, small)
        if block is None:
            self.failed += 1
            return None
        rest = block.size - size
        if rest >= ROUND if small else rest > SMALL:
            self._split(block, size)
        self.live += asked
        self.peak_live = max(self.peak_live, self.live)
        return block, asked

    def release(self, what):
        block, asked = what
        self.live -= asked
        for side in ("left", "right"):
            near = getattr(block, side)
            if near and near.free:
                self._take(near)
                block.size += near.size
                block.place = min(block.place, near.place)
                far = getattr(near, side)
                setattr(block, side, far)
                if far:
                    setattr(far, "right" if side == "left" else "left", block)
        self._put(block)

    def _best(self, size, small):
        at = bisect.bisect_left(self.free[small], (size,))
        if at == len(self.free[small]):
            return None
        block = self.free[small].pop(at)[-1]
        block.free = False
        return block

    def _grow(self, size, small):
        segment = SMALL_SEGMENT if small else LARGE_SEGMENT if size < LARGE_FROM else -(-size // LARGE_ROUND) * LARGE_ROUND
        if self.reserved + segment > self.capacity:
            self._give_back()
        if self.reserved + segment > self.capacity:
            return None
        self.reserved += segment
        self.peak_reserved = max(self.peak_reserved, self.reserved)
        self.driver_allocs += 1
        self.segments += 1
        return Block(segment, small, (self.segments, 0))

    def _split(self, block, size):
        rest = Block(block.size - size, block.small, (block.place[0], block.place[1] + size))
        rest.left, rest.right, block.size = block, block.right, size
        if rest.right:
            rest.right.left = rest
        block.right = rest
        self._put(rest)

    def _give_back(self):
        for small in (True, False):
            whole = [e for e in self.free[small] if e[-1].left is None and e[-1].right is None]
            for entry in whole:
                self.reserved -= entry[0]
                self.driver_frees += 1
            self.free[small] = [e for e in self.free[small] if not (e[-1].left is None and e[-1].right is None)]

    def _put(self, block):
        block.free = True
        bisect.insort(self.free[block.small], (block.size, block.place, block))

    def _take(self, block):
        block.free = False
        del self.free[block.small][bisect.bisect_left(self.free[block.small], (block.size, block.place))]


def run(events, capacity):
    """The allocator after [(is it an allocation, handle, size)]."""
    allocator, live = Allocator(capacity), {}
    for is_alloc, handle, size in events:
        if is_alloc:
            live[handle] = allocator.alloc(size)
        elif live.get(handle):
            allocator.release(live.pop(handle))
    return allocator
