/* SPDX-License-Identifier: MIT */

/* The mailboxes between the loop and a VM's thread: see mailbox.h. */

#include "vm/mailbox.h"

#include "base/fd.h"
#include <errno.h>
#include <sys/eventfd.h>

struct letter {
        struct list link;
        struct vm_message message;
};

int mailbox_init(struct mailbox *mailbox) {
        int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (fd < 0)
                return -errno;
        *mailbox = (struct mailbox){.lock = PTHREAD_MUTEX_INITIALIZER, .fd = fd};
        list_init(&mailbox->letters);
        return 0;
}

void mailbox_deinit(struct mailbox *mailbox) {
        struct vm_message message;
        while (mailbox_next(&mailbox->letters, &message)) {
                fd_close(message.fd);
                vm_held_free(message.held);
        }
        mailbox->fd = fd_close(mailbox->fd);
        pthread_mutex_destroy(&mailbox->lock);
}

/*
 * What a stranger can make come as often as he likes, and of which only the last counts: it takes the place of the one
 * before, whose set of descriptors is the caller's then.
 */
static bool supersede(struct mailbox *mailbox, const struct vm_message *message, struct vm_held **ret_old) {
        if (message->kind != VM_STATE && message->kind != VM_HELD && message->kind != VM_SUSPEND)
                return false;
        list_for_each(link, &mailbox->letters) {
                struct letter *letter = container_of(link, struct letter, link);
                if (letter->message.kind != message->kind || letter->message.ticket != message->ticket)
                        continue;
                *ret_old = letter->message.held;
                letter->message = *message;
                return true;
        }
        return false;
}

int mailbox_put(struct mailbox *mailbox, const struct vm_message *message) {
        struct letter *letter = malloc(sizeof *letter);
        if (!letter) {
                fd_close(message->fd);
                vm_held_free(message->held);
                return -ENOMEM;
        }
        letter->message = *message;
        struct vm_held *old = NULL;
        pthread_mutex_lock(&mailbox->lock);
        bool was_empty = list_is_empty(&mailbox->letters), is_new = !supersede(mailbox, message, &old);
        if (is_new)
                list_append(&mailbox->letters, &letter->link);
        mailbox->count += is_new;
        pthread_mutex_unlock(&mailbox->lock);
        vm_held_free(old); /* which may wait: not under the lock, which the other one wants */
        if (!is_new)
                free(letter);
        if (was_empty)
                (void)eventfd_write(mailbox->fd, 1);
        return 0;
}

unsigned mailbox_count(struct mailbox *mailbox) {
        pthread_mutex_lock(&mailbox->lock);
        unsigned count = mailbox->count;
        pthread_mutex_unlock(&mailbox->lock);
        return count;
}

void mailbox_empty(struct mailbox *mailbox, struct list *ret_letters) {
        (void)eventfd_read(mailbox->fd, &(eventfd_t){0});
        list_init(ret_letters);
        pthread_mutex_lock(&mailbox->lock);
        if (!list_is_empty(&mailbox->letters)) {
                list_insert_before(mailbox->letters.next, ret_letters);
                list_unlink(&mailbox->letters);
        }
        mailbox->count = 0;
        pthread_mutex_unlock(&mailbox->lock);
}

bool mailbox_next(struct list *letters, struct vm_message *ret) {
        if (list_is_empty(letters))
                return false;
        struct letter *letter = container_of(letters->next, struct letter, link);
        list_unlink(&letter->link);
        *ret = letter->message;
        free(letter);
        return true;
}
