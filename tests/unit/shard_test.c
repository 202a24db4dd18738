/* A shard of the device cache: bins order sizes, a request gets the best block that wastes at most an eighth, pending
 * blocks stay where they are until their epoch has passed, and the bytes always add up. */
#include "device/fence.h"
#include "device/shard.h"
#include "suite.h"
#include <stdlib.h>

static struct shard shard;
static struct block pool[4096];
static unsigned made;

static void setup(void) {
    shard_init(&shard, 0);
    made = 0;
    atomic_store(&fence_clock.open, 100);
    atomic_store(&fence_clock.passed, 10);
}
static struct block *block_of(uint64_t size, uint64_t epoch) {
    struct block *b = &pool[made++];
    *b = (struct block){ .address = made * 4096, .size = size, .epoch = epoch, .bin = (uint16_t)shard_bin(size) };
    return b;
}

START_TEST(bins_are_monotonic_and_an_eighth_apart) {
    unsigned last = 0;
    for (uint64_t size = 1; size < (uint64_t)1 << 40; size += size / 64 + 1) {
        unsigned bin = shard_bin(size);
        ck_assert_uint_ge(bin, last);
        ck_assert_uint_lt(bin, BINS);
        if (size < (uint64_t)1 << 39) ck_assert_uint_gt(shard_bin(size + size / 4 + 512), bin);
        last = bin;
    }
    ck_assert_uint_lt(shard_bin(UINT64_MAX / 2), BINS);
}
END_TEST

START_TEST(the_best_fit_is_taken) {
    shard_put(&shard, block_of(1100, 0), true);
    struct block *tight = block_of(1030, 0);
    shard_put(&shard, tight, true);
    shard_put(&shard, block_of(1120, 0), true);
    ck_assert_ptr_eq(shard_take(&shard, 1025, COPPICE_UNTYPED, 0), tight);
    ck_assert_ptr_null(shard_take(&shard, 4096, COPPICE_UNTYPED, 0));
    ck_assert_ptr_nonnull(shard_take(&shard, 1100, COPPICE_UNTYPED, 0));
}
END_TEST

START_TEST(the_usual_hit_is_of_the_same_size_and_asker_and_was_freed_last) {
    struct block *others = block_of(4096, 0), *first = block_of(4096, 0), *last = block_of(4096, 0);
    others->owner.key = 7;
    shard_put(&shard, first, true), shard_put(&shard, last, true);
    ck_assert_ptr_null(shard_take_last(&shard, 4095, COPPICE_UNTYPED, 0));
    ck_assert_ptr_null(shard_take_last(&shard, 4096, COPPICE_EPISODIC, 0));
    ck_assert_ptr_eq(shard_take_last(&shard, 4096, COPPICE_UNTYPED, 0), last);
    shard_put(&shard, others, true);
    ck_assert_ptr_null(shard_take_last(&shard, 4096, COPPICE_UNTYPED, 0));
    ck_assert_uint_eq(shard.age[COPPICE_UNTYPED].cached, 2 * 4096);
    ck_assert_ptr_eq(shard_take_oldest(&shard, COPPICE_UNTYPED, true), first);
}
END_TEST

START_TEST(a_block_that_wastes_more_is_left) {
    shard_put(&shard, block_of(103 << 20, 0), true);
    ck_assert_ptr_null(shard_take(&shard, 80 << 20, COPPICE_UNTYPED, 0));
    ck_assert_ptr_null(shard_take(&shard, 88 << 20, COPPICE_UNTYPED, 0)); /* in the next bin, and still more than an eighth */
    ck_assert_ptr_nonnull(shard_take(&shard, 91 << 20, COPPICE_UNTYPED, 0));
}
END_TEST

START_TEST(a_loose_fit_is_the_smallest_in_its_range) {
    shard_put(&shard, block_of(50 << 20, 0), true);
    struct block *smaller = block_of(30 << 20, 0), *pending = block_of(20 << 20, 50);
    shard_put(&shard, smaller, true);
    shard_put(&shard, block_of(90 << 20, 0), true);
    shard_put(&shard, pending, false);
    ck_assert_ptr_null(shard_take_between(&shard, 10 << 20, 25 << 20, COPPICE_UNTYPED)); /* the only one waits */
    ck_assert(shard_has_between(&shard, 10 << 20, 25 << 20, COPPICE_UNTYPED) && shard_has_between(&shard, 80 << 20, 100 << 20, COPPICE_UNTYPED));
    ck_assert(!shard_has_between(&shard, 51 << 20, 89 << 20, COPPICE_UNTYPED));
    ck_assert_ptr_eq(shard_take_between(&shard, 10 << 20, 80 << 20, COPPICE_UNTYPED), smaller);
    ck_assert_ptr_null(shard_take_between(&shard, 10 << 20, 49 << 20, COPPICE_UNTYPED));
}
END_TEST

START_TEST(the_largest_ready_block_leaves_first) {
    shard_put(&shard, block_of(50 << 20, 0), true);
    struct block *largest = block_of((51 << 20) - 512, 0);
    shard_put(&shard, largest, true);
    shard_put(&shard, block_of((51 << 20) - 1024, 0), true);
    shard_put(&shard, block_of(90 << 20, 50), false);
    ck_assert_ptr_eq(shard_take_largest(&shard, COPPICE_UNTYPED), largest);
    shard_take_largest(&shard, COPPICE_UNTYPED), shard_take_largest(&shard, COPPICE_UNTYPED);
    ck_assert_ptr_null(shard_take_largest(&shard, COPPICE_UNTYPED));
    ck_assert_uint_eq(shard.age[COPPICE_UNTYPED].cached, 90 << 20);
}
END_TEST

START_TEST(a_pending_block_is_not_taken) {
    struct block *b = block_of(4096, 50);
    shard_put(&shard, b, false);
    shard_settle(&shard);
    ck_assert_ptr_null(shard_take(&shard, 4096, COPPICE_UNTYPED, 0));
    ck_assert_ptr_eq(shard_find_pending(&shard, 4000, COPPICE_UNTYPED), b);
    atomic_store(&fence_clock.passed, 49);
    shard_settle(&shard);
    ck_assert_ptr_null(shard_take(&shard, 4096, COPPICE_UNTYPED, 0));
    atomic_store(&fence_clock.passed, 50);
    shard_settle(&shard);
    ck_assert_ptr_eq(shard_take(&shard, 4096, COPPICE_UNTYPED, 0), b);
}
END_TEST

START_TEST(the_oldest_ready_block_is_found_behind_pending_ones) {
    struct block *pending = block_of(4096, 50), *ready = block_of(8192, 0);
    shard_put(&shard, pending, false);
    shard_put(&shard, ready, true);
    ck_assert_ptr_eq(shard_take_oldest(&shard, COPPICE_UNTYPED, true), ready);
    ck_assert_ptr_null(shard_take_oldest(&shard, COPPICE_UNTYPED, true));
    ck_assert_ptr_eq(shard_take_oldest(&shard, COPPICE_UNTYPED, false), pending);
}
END_TEST

START_TEST(random_use_agrees_with_a_model) {
    uint64_t bytes = 0, epoch = 11;
    unsigned inside = 0;
    srand(3);
    for (unsigned step = 0; step < 4000; step++) {
        if (rand() % 2) {
            uint64_t size = (uint64_t)(rand() % 20000 + 1);
            bool ready = rand() % 3 == 0;
            epoch += (uint64_t)(rand() % 2);
            shard_put(&shard, block_of(size, ready ? 0 : epoch), ready);
            bytes += size, inside++;
        } else if (rand() % 4 == 0) {
            struct block *b = shard_take_oldest(&shard, COPPICE_UNTYPED, false);
            ck_assert_int_eq(b != NULL, inside > 0);
            if (b) bytes -= b->size, inside--;
        } else {
            uint64_t asked = (uint64_t)(rand() % 20000 + 1);
            shard_settle(&shard);
            struct block *b = shard_take_last(&shard, asked, COPPICE_UNTYPED, 0);
            if (!b) b = shard_take(&shard, asked, COPPICE_UNTYPED, 0);
            if (!b) continue;
            ck_assert(shard_fits(&shard, b->size, asked));
            ck_assert_uint_eq(b->epoch, 0);
            bytes -= b->size, inside--;
        }
        if (rand() % 16 == 0) atomic_store(&fence_clock.passed, epoch - (uint64_t)(rand() % 3));
        ck_assert_uint_eq(shard.age[COPPICE_UNTYPED].cached, bytes);
    }
    while (shard_take_oldest(&shard, COPPICE_UNTYPED, false)) inside--;
    ck_assert_uint_eq(inside, 0);
    ck_assert_uint_eq(shard.age[COPPICE_UNTYPED].cached, 0);
    ck_assert(TAILQ_EMPTY(&shard.pending));
    for (unsigned i = 0; i < BINS; i++) ck_assert(LIST_EMPTY(&shard.bin[COPPICE_UNTYPED][i]));
}
END_TEST

static struct block *typed(uint64_t size, enum coppice_type type) {
    struct block *b = block_of(size, 0);
    b->kind.type = (uint8_t)type;
    shard_put(&shard, b, true);
    return b;
}

START_TEST(each_type_has_blocks_of_its_own) {
    struct block *mine = typed(4096, COPPICE_EPISODIC), *other = typed(4096, COPPICE_SEMANTIC);
    ck_assert_ptr_null(shard_take(&shard, 4096, COPPICE_UNTYPED, 0));
    ck_assert_ptr_eq(shard_take(&shard, 4096, COPPICE_EPISODIC, 0), mine);
    ck_assert_ptr_null(shard_take_oldest(&shard, COPPICE_EPISODIC, false));
    ck_assert_uint_eq(shard.age[COPPICE_SEMANTIC].cached, 4096);
    ck_assert_ptr_eq(shard_take_oldest(&shard, COPPICE_SEMANTIC, false), other);
}
END_TEST

START_TEST(blocks_are_lent_but_not_emotional_ones) {
    struct block *kept = typed(4096, COPPICE_EMOTIONAL), *lent = typed(4096, COPPICE_SEMANTIC);
    ck_assert_ptr_eq(shard_lend(&shard, 4096, COPPICE_EPISODIC), lent);
    ck_assert_ptr_null(shard_lend(&shard, 4096, COPPICE_EPISODIC));
    ck_assert_ptr_eq(shard_take(&shard, 4096, COPPICE_EMOTIONAL, 0), kept);
    kept->epoch = 50;
    shard_put(&shard, kept, false);
    ck_assert_ptr_null(shard_find_pending(&shard, 4096, COPPICE_UNTYPED));
    ck_assert_ptr_eq(shard_find_pending(&shard, 4096, COPPICE_EMOTIONAL), kept);
}
END_TEST

START_TEST(procedural_requests_take_their_exact_size) {
    typed(1 << 20, COPPICE_PROCEDURAL), typed(1 << 20, COPPICE_UNTYPED);
    ck_assert_ptr_null(shard_take(&shard, (1 << 20) - 4096, COPPICE_PROCEDURAL, 0));
    ck_assert_ptr_null(shard_lend(&shard, (1 << 20) - 4096, COPPICE_PROCEDURAL));
    ck_assert_ptr_nonnull(shard_take(&shard, 1 << 20, COPPICE_PROCEDURAL, 0));
    ck_assert_ptr_nonnull(shard_lend(&shard, 1 << 20, COPPICE_PROCEDURAL));
}
END_TEST

START_TEST(episodic_requests_take_what_was_freed_last) {
    typed(1030, COPPICE_EPISODIC);
    struct block *last = typed(1100, COPPICE_EPISODIC);
    typed(1030, COPPICE_UNTYPED);
    typed(1100, COPPICE_UNTYPED);
    ck_assert_ptr_eq(shard_take(&shard, 1026, COPPICE_EPISODIC, 0), last);
    ck_assert_uint_eq(shard_take(&shard, 1026, COPPICE_UNTYPED, 0)->size, 1030);
}
END_TEST

SUITE("shard", setup, NULL, each_type_has_blocks_of_its_own, blocks_are_lent_but_not_emotional_ones, procedural_requests_take_their_exact_size,
      episodic_requests_take_what_was_freed_last,
      bins_are_monotonic_and_an_eighth_apart, the_best_fit_is_taken, the_usual_hit_is_of_the_same_size_and_asker_and_was_freed_last, a_block_that_wastes_more_is_left,
      a_loose_fit_is_the_smallest_in_its_range, the_largest_ready_block_leaves_first, a_pending_block_is_not_taken, the_oldest_ready_block_is_found_behind_pending_ones, random_use_agrees_with_a_model)
