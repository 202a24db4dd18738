/* The table of blocks: what was put in is found by its address, what was hidden is not, through growth and reuse. */
#include "device/block.h"
#include "suite.h"
#include <stdlib.h>

static uint64_t address_of(unsigned i) { return 0x7f0000000000ull + (uint64_t)i * 512; }

START_TEST(blocks_are_found_through_growth) {
    enum { N = 20000 };
    for (unsigned i = 0; i < N; i++) ck_assert_ptr_nonnull(block_new(NULL, address_of(i), 512, i + 1));
    for (unsigned i = 0; i < N; i++) {
        struct block *b = block_find(address_of(i));
        ck_assert_ptr_nonnull(b);
        ck_assert_uint_eq(b->asked, i + 1);
    }
    ck_assert_ptr_null(block_find(address_of(N)));
    ck_assert_ptr_null(block_find(address_of(5) + 256));
    for (unsigned i = 0; i < N; i++) {
        struct block *b = block_find(address_of(i));
        block_hide(b), block_recycle(b);
        ck_assert_ptr_null(block_find(address_of(i)));
    }
}
END_TEST

START_TEST(random_changes_agree_with_a_model) {
    enum { N = 512, STEPS = 200000 };
    static struct block *model[N];
    srand(7);
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned i = (unsigned)rand() % N;
        ck_assert_ptr_eq(block_find(address_of(i)), model[i]);
        if (!model[i]) {
            model[i] = block_new(NULL, address_of(i), 1, 1);
        } else if (rand() % 4 == 0) {
            block_hide(model[i]);
            ck_assert_ptr_null(block_find(address_of(i)));
            block_show(model[i]);
        } else {
            block_hide(model[i]), block_recycle(model[i]);
            model[i] = NULL;
        }
    }
}
END_TEST

START_TEST(only_one_of_two_frees_moves_a_block) {
    struct block *b = block_new(NULL, 4096, 512, 1);
    ck_assert(block_move(b, BLOCK_LIVE, BLOCK_CACHED));
    ck_assert(!block_move(b, BLOCK_LIVE, BLOCK_CACHED));
}
END_TEST

SUITE("block", NULL, NULL,
      blocks_are_found_through_growth, random_changes_agree_with_a_model, only_one_of_two_frees_moves_a_block)
