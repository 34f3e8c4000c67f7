/* Threads that work together for the length of one call.
 *
 * A team is started for a call and joined at its end, so a forked child lacks nothing, and no
 * runtime is shared with other libraries. If the system allows fewer threads than requested, the
 * team is smaller; its size is known before the work is divided.
 *
 * Without pthread.h, or with FASTLIN_WITHOUT_THREADS, the calling thread is the whole team. */
#ifndef FASTLIN_TEAM_H
#define FASTLIN_TEAM_H
#include "barrier.h"
#include "fastlin_api.h"

#if defined(__has_include) && !defined(FASTLIN_WITHOUT_THREADS)
#if __has_include(<pthread.h>)
#include <pthread.h>
#include <signal.h>
#define HAS_THREADS 1
#endif
#endif
#if !defined(HAS_THREADS)
#define HAS_THREADS 0
#endif
#if HAS_THREADS && defined(__linux__) && defined(__GLIBC__)
#define CHOOSES_CORES 1
#else
#define CHOOSES_CORES 0
#endif

/* One thread's part of the work; thread 0 is the caller's. */
typedef void team_work(void *context, int64_t thread);

#if HAS_THREADS
typedef struct team team;
typedef struct {
    team *of;
    int64_t number;
    pthread_t handle;
} team_member;

struct team {
    int64_t n_threads;    /* with the calling thread */
    team_member *members; /* all but the calling thread */
    team_work *work;
    void *context;
    atomic_int go;
    bool crowded; /* there are fewer cores than threads */
#if CHOOSES_CORES
    bool elsewhere;
    cpu_set_t cores; /* of the calling thread */
#endif
};

#if CHOOSES_CORES
/* Let new threads start on other cores than the calling thread's, if there are enough. If the
 * others are busy, Linux would start them on this one, and move them too late for a call of
 * milliseconds. */
static inline bool begin_elsewhere(pthread_attr_t *attributes, cpu_set_t *cores, int64_t n_new) {
    int here = sched_getcpu();
    if (here < 0 || here >= CPU_SETSIZE || sched_getaffinity(0, sizeof(cpu_set_t), cores))
        return false;
    cpu_set_t others = *cores;
    CPU_CLR(here, &others);
    return CPU_COUNT(&others) >= n_new &&
           !pthread_attr_setaffinity_np(attributes, sizeof(cpu_set_t), &others);
}
#endif

static void *team_member_main(void *argument) {
    team_member *self = argument;
    int spins = 0;
    crowded = self->of->crowded;
#if CHOOSES_CORES
    if (self->of->elsewhere) sched_setaffinity(0, sizeof(cpu_set_t), &self->of->cores);
#endif
    while (!atomic_load_explicit(&self->of->go, memory_order_acquire)) wait_a_little(&spins);
    if (self->of->work) self->of->work(self->of->context, self->number);
    return NULL;
}

/* Start up to n_threads threads, which wait for the work; returns their number. */
static inline int64_t start_team(team *t, int64_t n_threads) {
    *t = (team){.n_threads = 1};
    if (n_threads <= 1) return 1;
    t->members = calloc(n_threads - 1, sizeof(team_member));
    if (!t->members) return 1;
    /* Python's threads handle signals, except those of a fault in this thread. */
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes)) return 1;
#if CHOOSES_CORES
    t->elsewhere = begin_elsewhere(&attributes, &t->cores, n_threads - 1);
    int n_cores = CPU_COUNT(&t->cores); /* 0: unknown */
    t->crowded = n_cores > 0 && n_threads > n_cores;
#endif
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (; t->n_threads < n_threads; t->n_threads++) {
        team_member *member = &t->members[t->n_threads - 1];
        *member = (team_member){.of = t, .number = t->n_threads};
        if (pthread_create(&member->handle, &attributes, team_member_main, member)) break;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return t->n_threads;
}

/* Let every thread do its work, or nothing if work is NULL, and end the team. */
static inline void finish_team(team *t, team_work *work, void *context) {
    t->work = work;
    t->context = context;
    crowded = t->crowded;
    atomic_store_explicit(&t->go, 1, memory_order_release);
    if (work) work(context, 0);
    for (int64_t i = 0; i + 1 < t->n_threads; i++) pthread_join(t->members[i].handle, NULL);
    free(t->members);
}
#else
typedef struct {
    int64_t n_threads;
} team;

static inline int64_t start_team(team *t, int64_t n_threads) {
    (void)n_threads;
    return t->n_threads = 1;
}

static inline void finish_team(team *t, team_work *work, void *context) {
    (void)t;
    if (work) work(context, 0);
}
#endif

/* Start up to n_threads threads, call set_up, which returns a fastlin_status, with their number,
 * and let each do its work. */
static inline int work_together(int64_t n_threads, int (*set_up)(void *context, int64_t n_threads),
                                team_work *work, void *context) {
    team threads;
    int64_t size = start_team(&threads, n_threads);
    int status = set_up(context, size);
    finish_team(&threads, status == FASTLIN_OK ? work : NULL, context);
    return status;
}

#endif
