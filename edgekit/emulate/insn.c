/* A qemu plugin that counts what a guest program executes: instructions, and loads and stores together.
 *
 *   qemu-aarch64 -plugin file=insn.so,out=/tmp/counts ...
 *
 * writes "instructions memory-accesses" to that file when the guest ends. Plugin API version 1 (qemu 6 to 8); the
 * prototypes are spelled out because distributions do not package qemu-plugin.h. Counters are plain additions that the
 * translator inlines, so they are exact for a guest with one thread only.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef uint64_t plugin_id;
typedef struct block block;
typedef struct instruction instruction;
typedef struct info info;
enum operation { ADD_U64 = 0 };
/* Registered apart under qemu 7.2, loads come out as a few per cent of stores, which no network does; the sum is right. */
enum access { LOADS_AND_STORES = 3 };

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, block *));
void qemu_plugin_register_vcpu_tb_exec_inline(block *, enum operation, void *, uint64_t);
void qemu_plugin_register_vcpu_mem_inline(instruction *, enum access, enum operation, void *, uint64_t);
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
size_t qemu_plugin_tb_n_insns(const block *);
instruction *qemu_plugin_tb_get_insn(const block *, size_t);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

static uint64_t executed, accesses;
static char out[512] = "/tmp/counts";

static void translated(plugin_id id, block *code)
{
    const size_t length = qemu_plugin_tb_n_insns(code);

    (void)id;
    qemu_plugin_register_vcpu_tb_exec_inline(code, ADD_U64, &executed, length);
    for (size_t at = 0; at < length; at++) {
        instruction *one = qemu_plugin_tb_get_insn(code, at);

        qemu_plugin_register_vcpu_mem_inline(one, LOADS_AND_STORES, ADD_U64, &accesses, 1);
    }
}

static void ended(plugin_id id, void *unused)
{
    FILE *file = fopen(out, "w");

    (void)id;
    (void)unused;
    if (file) {
        fprintf(file, "%" PRIu64 " %" PRIu64 "\n", executed, accesses);
        fclose(file);
    }
}

__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const info *host, int argc, char **argv)
{
    (void)host;
    for (int at = 0; at < argc; at++)
        if (strncmp(argv[at], "out=", 4) == 0)
            snprintf(out, sizeof out, "%s", argv[at] + 4);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
