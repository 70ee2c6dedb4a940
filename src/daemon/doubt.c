/* SPDX-License-Identifier: MIT */

/* Doubtful channels: see doubt.h. */

#include "daemon/doubt.h"
#include <stdlib.h>
#include <string.h>

/* Whose channels are doubtful. Goes when none is. */
struct doubtful_user {
        struct table_link link;
        struct doubtful_key {
                const struct partition *partition;
                uint64_t uid;
        } key;
        struct list channels; /* of channel_shell.doubtful_link, the longest doubtful first */
        unsigned count;
};

int doubts_open(struct doubts *doubts, const uint8_t key[16]) {
        return table_init(&doubts->users, key);
}

void doubts_close(struct doubts *doubts) {
        table_deinit(&doubts->users);
}

static struct doubtful_user *user_of(struct doubts *doubts, const struct channel *channel) {
        struct doubtful_key key = {.partition = channel->from, .uid = channel->from_uid};
        uint64_t hash = table_hash(&doubts->users, &key, sizeof key);
        for (struct table_link *link = NULL; (link = table_find(&doubts->users, hash, link));) {
                struct doubtful_user *user = container_of(link, struct doubtful_user, link);
                if (!memcmp(&user->key, &key, sizeof key))
                        return user;
        }
        struct doubtful_user *user = calloc(1, sizeof *user);
        if (!user)
                return NULL;
        user->key = key;
        list_init(&user->channels);
        if (table_insert(&doubts->users, &user->link, hash) < 0) {
                free(user);
                return NULL;
        }
        return user;
}

struct channel_shell *doubt(struct doubts *doubts, struct channel_shell *shell) {
        struct doubtful_user *user = shell->doubtful_user ? NULL : user_of(doubts, shell->channel);
        if (!user)
                return NULL; /* doubtful already, or no memory: it will be asked after again */
        shell->doubtful_user = user;
        list_append(&user->channels, &shell->doubtful_link);
        return ++user->count > DOUBTFUL_MAX ? container_of(user->channels.next, struct channel_shell, doubtful_link) : NULL;
}

void doubt_end(struct doubts *doubts, struct channel_shell *shell) {
        struct doubtful_user *user = shell->doubtful_user;
        if (!user)
                return;
        list_unlink(&shell->doubtful_link);
        shell->doubtful_user = NULL;
        if (--user->count == 0) {
                table_remove(&doubts->users, &user->link);
                free(user);
        }
}
