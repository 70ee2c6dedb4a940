/* SPDX-License-Identifier: MIT */

/*
 * The sleeping and waking of one direction of a ring, with store buffers: the
 * protocol of src/ring/wish.h, by the same names.
 *
 * The sender publishes TOTAL bytes through a ring of CAPACITY and ends; the
 * receiver takes them, with receives of every size that poll, look for a while or
 * sleep as they like. Either sleeps in the kernel alone: the receiver until there
 * is a token, which a sleeping receive takes; the sender until there are fewer than
 * WRITABLE, or until it could send one more. With LIBRARY the receiver's program
 * asks the library for readiness. The checker finds every state in which nobody can
 * go on. To see that it does:
 *
 *     spin -DNO_SENDER_FENCE -a wish.pml
 *     (likewise COUNTS_FIRST, DRAINS_ALL, LOOKS_ONCE, SLEEPS_AT_ONCE, ONE_FOR_TWO)
 */

#ifndef TOTAL
#define TOTAL 4
#endif
#ifndef CAPACITY
#define CAPACITY 2
#endif
#define ROOM_MAX 2
#ifndef TOKENS_MAX
#define TOKENS_MAX 3 /* then the socket takes no more */
#endif
#define WRITABLE 2   /* with fewer than these it is writable */

#define NONE 0
#define ARMED 1
#define PROMISED 2
#define ASLEEP 3

byte head, tail;                        /* in memory */
byte data_wish = ARMED, data_position;
byte room_wish, room_position;
short sent;                             /* tokens that the sender counts, less those that the receiver took */
byte tokens;                            /* in the socket */

/* Store buffers: what an end published, but nobody else sees yet. */
byte buffered_head, buffered_tail;
bool head_is_buffered, tail_is_buffered;

active proctype store_buffers() {
end:    do
        :: atomic { head_is_buffered -> head = buffered_head; buffered_head = 0; head_is_buffered = false }
        :: atomic { tail_is_buffered -> tail = buffered_tail; buffered_tail = 0; tail_is_buffered = false }
        od
}

/* Each end's own index: it has the start of its memory only in its store buffer. */
#define STORE_HEAD(value) atomic { !head_is_buffered -> buffered_head = value; head_is_buffered = true }
#define STORE_TAIL(value) atomic { !tail_is_buffered -> buffered_tail = value; tail_is_buffered = true }
#define SENDER_FENCE !head_is_buffered
#define RECEIVER_FENCE !tail_is_buffered

/* Counted when it is in the socket: a token that is counted and was refused would have the receiver take another for it. */
inline send_token() {
#ifdef COUNTS_FIRST
        sent++;
        if
        :: atomic { tokens < TOKENS_MAX -> tokens++ }
        :: atomic { tokens == TOKENS_MAX -> sent-- }
        fi
#else
        if
        :: atomic { tokens < TOKENS_MAX -> tokens++ };
                sent++
        :: tokens == TOKENS_MAX
        fi
#endif
}

active proctype sender() {
        byte own_head, wish, position;
        do
        :: own_head == TOTAL -> break
        :: own_head < TOTAL && own_head - tail < CAPACITY ->
                if
                :: own_head++
                :: own_head + 2 <= TOTAL && own_head + 2 - tail <= CAPACITY -> own_head = own_head + 2
                fi;
                STORE_HEAD(own_head);
#ifndef NO_SENDER_FENCE
                SENDER_FENCE;
#endif
look:           atomic { wish = data_wish; position = data_position };
                if
                :: wish == ASLEEP || (wish != NONE && own_head > position) ->
                        if
                        :: atomic { !head_is_buffered && data_wish == wish && data_position == position ->
                                    if
                                    :: own_head > position -> data_wish = NONE
                                    :: else -> data_wish = PROMISED
                                    fi };
                                send_token();
                                if
#ifndef ONE_FOR_TWO
                                :: wish == ASLEEP && own_head > position -> send_token()
#endif
                                :: else
                                fi
                        :: atomic { !head_is_buffered && (data_wish != wish || data_position != position) };
                                goto look
                        fi
                :: else
                fi;
                d_step { wish = 0; position = 0 }
        :: own_head < TOTAL && own_head - tail >= CAPACITY ->
                /* Full: tokens until the socket takes no more; the receiver takes them back when there is room. */
                do
                :: tokens < TOKENS_MAX -> send_token()
                :: tokens == TOKENS_MAX -> break
                od;
                atomic { !head_is_buffered -> room_wish = ARMED; room_position = own_head - CAPACITY + 1 };
                if
                :: own_head - tail < CAPACITY
                :: else ->
                        if
                        :: tokens < WRITABLE /* poll(POLLOUT) */
                        :: tokens < TOKENS_MAX -> send_token() /* a blocking send */
                        fi
                fi
        od
}

#ifndef LIBRARY
active proctype receiver() {
        byte own_tail, promise, seen, wish, position;
        short counted;
        do
        :: own_tail == TOTAL -> break
        :: else ->
                /* One receive. */
                if
                :: promise = own_tail + 1
                :: promise = own_tail + ROOM_MAX
                fi;
                if
                :: head > own_tail -> goto take
                :: else
                fi;
                if
                :: atomic { !tail_is_buffered -> data_wish = PROMISED; data_position = promise };
                        if
                        :: head > own_tail -> goto take
                        :: true /* gives up */
                        fi
                :: true
                fi;
                if
                :: true
                :: atomic { !tail_is_buffered -> data_wish = ASLEEP; data_position = promise };
#ifndef SLEEPS_AT_ONCE
                        if
                        :: head > own_tail -> goto take
                        :: else
                        fi;
#endif
                        if
                        :: atomic { tokens > 0 -> tokens--; sent-- };
                                if
                                :: head > own_tail -> goto take
                                :: else /* it was a stale one */
                                fi
                        :: own_tail == TOTAL /* a time-out: not to be counted on */
                        fi
                fi;
                goto leave;
take:
                seen = head;
                if
                :: seen > promise -> own_tail = promise
                :: else -> own_tail = seen
                fi;
                STORE_TAIL(own_tail);
                atomic { wish = room_wish; position = room_position };
                if
                :: wish == ARMED && own_tail >= position ->
                        if
                        :: atomic { !tail_is_buffered && room_wish == ARMED && room_position == position ->
                                    room_wish = NONE };
                                counted = sent;
                                do
                                :: counted > 1 && tokens > 0 -> atomic { tokens--; sent--; counted-- }
                                :: else -> break
                                od;
                                counted = 0
                        :: atomic { !tail_is_buffered && (room_wish != ARMED || room_position != position) }
                        fi
                :: else
                fi;
leave:
                counted = sent;
                seen = head;
                if
                :: seen > own_tail && own_tail < promise -> goto take
                :: else
                fi;
                atomic { wish = data_wish; position = data_position };
                if
                :: seen > own_tail && wish == NONE -> goto left /* there is a token, or one on its way */
                :: else
                fi;
                if
                :: wish == ARMED && position == own_tail -> RECEIVER_FENCE
                :: else ->
                        if
                        :: atomic { !tail_is_buffered && data_wish == wish && data_position == position ->
                                    data_wish = ARMED; data_position = own_tail }
                        :: atomic { !tail_is_buffered && (data_wish != wish || data_position != position) };
                                goto leave
                        fi
                fi;
#ifndef LOOKS_ONCE
                seen = head;
                if
                :: seen > own_tail && own_tail < promise -> goto take
                :: seen > own_tail && own_tail == promise -> goto left
                :: else
                fi;
#endif
                /*
                 * Empty: what was counted before is stale. All but the last token go first: from then on no send is
                 * refused, and one that was shows in the wish. The last one goes only if there was none.
                 */
#ifndef DRAINS_ALL
                do
                :: counted > 1 && tokens > 0 -> atomic { tokens--; sent--; counted-- }
                :: else -> break
                od;
                if
                :: data_wish == ARMED && data_position == own_tail
                :: else -> goto leave
                fi;
#endif
                do
                :: counted > 0 && tokens > 0 -> atomic { tokens--; sent--; counted-- }
                :: else -> break
                od;
left:           skip;
                d_step { seen = 0; wish = 0; position = 0; counted = 0; promise = 0 };
                /* The next receive comes at once, or when a poll says that there is a token. */
                if
                :: true
                :: skip; (tokens > 0 || own_tail == TOTAL)
                fi
        od
}

#else

/* It wishes for nothing while it runs. */
active proctype receiver() {
        byte own_tail, wish, position;
        short counted;
        data_wish = NONE;
        do
        :: own_tail == TOTAL -> break
        :: own_tail < TOTAL && head > own_tail ->
                own_tail++;
                STORE_TAIL(own_tail);
                atomic { wish = room_wish; position = room_position };
                if
                :: wish == ARMED && own_tail >= position ->
                        if
                        :: atomic { !tail_is_buffered && room_wish == ARMED && room_position == position ->
                                    room_wish = NONE };
                                counted = sent;
                                do
                                :: counted > 1 && tokens > 0 -> atomic { tokens--; sent--; counted-- }
                                :: else -> break
                                od;
                                counted = 0
                        :: atomic { !tail_is_buffered && (room_wish != ARMED || room_position != position) }
                        fi
                :: else
                fi;
                d_step { wish = 0; position = 0 }
        :: own_tail < TOTAL && head <= own_tail ->
                counted = sent;
                do
                :: counted > 0 && tokens > 0 -> atomic { tokens--; sent--; counted-- }
                :: else -> break
                od;
                counted = 0;
                /* It sleeps in a receive, or in a poll. */
                if
                :: atomic { !tail_is_buffered -> data_wish = ASLEEP; data_position = own_tail + 1 };
                        if
                        :: head > own_tail
                        :: head <= own_tail -> atomic { tokens > 0 -> tokens--; sent-- }
                        fi
                :: atomic { !tail_is_buffered -> data_wish = ARMED; data_position = own_tail };
                        if
                        :: head > own_tail
                        :: head <= own_tail -> tokens > 0
                        fi
                fi;
                atomic { !tail_is_buffered -> data_wish = NONE }
        od
}
#endif
