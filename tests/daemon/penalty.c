/* SPDX-License-Identifier: MIT */

/* Who held the loop up: how long it is remembered, and of how many. */

#include "daemon/penalty.h"
#include "test.h"

static struct penalties penalties;

static struct stranger stranger_numbered(uint32_t uid) {
        return (struct stranger){.uid = uid};
}

static const struct stranger ALICE = {.uid = 1000}, BOB = {.uid = 1001};

TEST(an_offence_is_punished_for_a_second_and_nobody_else_is) {
        penalty_impose(&penalties, &ALICE, OFFENCE_CONNECT, 5000);
        check(penalty_lasts(&penalties, &ALICE, OFFENCE_CONNECT, 5000));
        check(penalty_lasts(&penalties, &ALICE, OFFENCE_CONNECT, 5999));
        check(!penalty_lasts(&penalties, &ALICE, OFFENCE_CONNECT, 6000));
        check(!penalty_lasts(&penalties, &ALICE, OFFENCE_CLOSE, 5000));
        check(!penalty_lasts(&penalties, &BOB, OFFENCE_CONNECT, 5000));
}

TEST(each_offence_doubles_the_penalty_up_to_its_maximum) {
        int64_t now_ms = 0;
        for (int64_t length_ms = PENALTY_MIN_MS, i = 0; i < 9; i++) {
                penalty_impose(&penalties, &ALICE, OFFENCE_CLOSE, now_ms);
                now_ms += length_ms;
                check(penalty_lasts(&penalties, &ALICE, OFFENCE_CLOSE, now_ms - 1));
                check(!penalty_lasts(&penalties, &ALICE, OFFENCE_CLOSE, now_ms));
                length_ms = length_ms * 2 < PENALTY_MAX_MS ? length_ms * 2 : PENALTY_MAX_MS;
        }
}

TEST(who_behaved_for_as_long_again_begins_anew) {
        penalty_impose(&penalties, &ALICE, OFFENCE_CLOSE, 0);
        penalty_impose(&penalties, &ALICE, OFFENCE_CLOSE, 1999); /* until 3999 */
        check(penalty_lasts(&penalties, &ALICE, OFFENCE_CLOSE, 3998));
        penalty_impose(&penalties, &ALICE, OFFENCE_CLOSE, 5999); /* forgotten */
        check(!penalty_lasts(&penalties, &ALICE, OFFENCE_CLOSE, 6999));
}

TEST(one_more_than_are_remembered_takes_the_place_of_who_is_free_first) {
        for (uint32_t i = 0; i < PENALTIES_MAX; i++) {
                struct stranger stranger = stranger_numbered(i);
                penalty_impose(&penalties, &stranger, OFFENCE_CLOSE, i);
        }
        struct stranger first = stranger_numbered(0), second = stranger_numbered(1), more = stranger_numbered(PENALTIES_MAX);
        check(penalty_lasts(&penalties, &first, OFFENCE_CLOSE, PENALTIES_MAX));
        penalty_impose(&penalties, &more, OFFENCE_CLOSE, PENALTIES_MAX);
        check(!penalty_lasts(&penalties, &first, OFFENCE_CLOSE, PENALTIES_MAX));
        check(penalty_lasts(&penalties, &second, OFFENCE_CLOSE, PENALTIES_MAX));
        check(penalty_lasts(&penalties, &more, OFFENCE_CLOSE, PENALTIES_MAX));
}
