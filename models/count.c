/* A QEMU plugin that counts guest instructions: at every getpriority(0, id) it prints "@ id count" to stderr.
 *
 * QEMU 7.2's API, with own prototypes so that no header is needed. Each translated block adds its number of
 * instructions when it runs; the system call (141 on arm64) is how a program marks the ends of a region.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

#define VISIBLE __attribute__((visibility("default")))
enum { ADD_INLINE = 0, GETPRIORITY = 141 };

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
typedef void on_block(plugin_id, struct qemu_plugin_tb *);
typedef void on_call(plugin_id, unsigned int, int64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                     uint64_t, uint64_t, uint64_t);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, on_block *);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id, on_call *);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int, void *, uint64_t);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);

VISIBLE int qemu_plugin_version = 1;
static uint64_t n_instructions;

static void translated(plugin_id id, struct qemu_plugin_tb *block)
{
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_INLINE, &n_instructions, qemu_plugin_tb_n_insns(block));
}

static void called(plugin_id id, unsigned int cpu, int64_t number, uint64_t which, uint64_t who, uint64_t a3,
                   uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
    (void)id, (void)cpu, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    if (number == GETPRIORITY && which == 0)
        fprintf(stderr, "@ %" PRIu64 " %" PRIu64 "\n", who, n_instructions);
}

VISIBLE int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    (void)info, (void)argc, (void)argv;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    return 0;
}
