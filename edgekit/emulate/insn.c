/* A qemu plugin that counts what a guest program executes: instructions, and loads and stores together.
 *
 *   cc -shared -fPIC -DPLUGIN_API=1 -o insn.so insn.c
 *   qemu-aarch64 -plugin file=insn.so,out=/tmp/counts ...
 *
 * writes "instructions memory-accesses" to that file when the guest ends. PLUGIN_API is the interface version that qemu
 * is told: 1 for qemu 6 to 8; 2 and later for qemu 9 and later, which took the shared counters of version 1 away and keep
 * one a virtual processor instead. The prototypes are spelled out because distributions do not package qemu-plugin.h.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#ifndef PLUGIN_API
#define PLUGIN_API 1
#endif

typedef uint64_t plugin_id;
typedef struct block block;
typedef struct instruction instruction;
typedef struct info info;
enum operation { ADD_U64 = 0 };
/* Registered apart under qemu 7.2, loads come out as a few per cent of stores, which no network does; the sum is right. */
enum access { LOADS_AND_STORES = 3 };

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, block *));
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
size_t qemu_plugin_tb_n_insns(const block *);
instruction *qemu_plugin_tb_get_insn(const block *, size_t);

__attribute__((visibility("default"))) int qemu_plugin_version = PLUGIN_API;

static char out[512] = "/tmp/counts";

#if PLUGIN_API < 2

/* Plain additions that the translator inlines: exact for a guest with one thread only. */
void qemu_plugin_register_vcpu_tb_exec_inline(block *, enum operation, void *, uint64_t);
void qemu_plugin_register_vcpu_mem_inline(instruction *, enum access, enum operation, void *, uint64_t);

static uint64_t executed, accesses;

static void prepare(void) {}
static void count_block(block *code, uint64_t n) { qemu_plugin_register_vcpu_tb_exec_inline(code, ADD_U64, &executed, n); }
static void count_access(instruction *one)
{
    qemu_plugin_register_vcpu_mem_inline(one, LOADS_AND_STORES, ADD_U64, &accesses, 1);
}
static uint64_t all_executed(void) { return executed; }
static uint64_t all_accesses(void) { return accesses; }

#else

typedef struct scoreboard scoreboard;
typedef struct {
    scoreboard *board;
    size_t offset;
} counter;

scoreboard *qemu_plugin_scoreboard_new(size_t);
uint64_t qemu_plugin_u64_sum(counter);
void qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(block *, enum operation, counter, uint64_t);
void qemu_plugin_register_vcpu_mem_inline_per_vcpu(instruction *, enum access, enum operation, counter, uint64_t);

struct tally {
    uint64_t executed, accesses;
};
static counter executed, accesses;

static void prepare(void)
{
    executed.board = accesses.board = qemu_plugin_scoreboard_new(sizeof(struct tally));
    executed.offset = offsetof(struct tally, executed);
    accesses.offset = offsetof(struct tally, accesses);
}
static void count_block(block *code, uint64_t n)
{
    qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(code, ADD_U64, executed, n);
}
static void count_access(instruction *one)
{
    qemu_plugin_register_vcpu_mem_inline_per_vcpu(one, LOADS_AND_STORES, ADD_U64, accesses, 1);
}
static uint64_t all_executed(void) { return qemu_plugin_u64_sum(executed); }
static uint64_t all_accesses(void) { return qemu_plugin_u64_sum(accesses); }

#endif

static void translated(plugin_id id, block *code)
{
    const size_t length = qemu_plugin_tb_n_insns(code);

    (void)id;
    count_block(code, length);
    for (size_t at = 0; at < length; at++)
        count_access(qemu_plugin_tb_get_insn(code, at));
}

static void ended(plugin_id id, void *unused)
{
    FILE *file = fopen(out, "w");

    (void)id;
    (void)unused;
    if (file) {
        fprintf(file, "%" PRIu64 " %" PRIu64 "\n", all_executed(), all_accesses());
        fclose(file);
    }
}

__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const info *host, int argc, char **argv)
{
    (void)host;
    for (int at = 0; at < argc; at++)
        if (strncmp(argv[at], "out=", 4) == 0)
            snprintf(out, sizeof out, "%s", argv[at] + 4);
    prepare();
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
