/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a given process can make an injected call: in its vDSO, which is the same code in all
 * processes of this kernel, and with a return frame that ends in its C library's rt_sigreturn.
 * Text is read from the files behind it, not through the process, so that no page of it becomes
 * present that was not; the answer is remembered per inode.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "task/tracer_private.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define TEXT_MAX     (64u << 20) /* bytes of one mapping that are searched */
#define TEXT_PIECE   (64u << 10) /* ... at a time */
#define TEXT_OVERLAP 16u         /* no shorter than what is searched for */

struct libc_gadget {
	unsigned long dev_major, dev_minor;
	uint64_t inode;
	int64_t offset; /* of the instruction in the file; -1 none */
};

/* one line of /proc/PID/maps */
struct line {
	uint64_t start, end, offset, inode;
	unsigned long major, minor;
	char perms[8];
	const char *name;
};

static bool parse_line(char *text, struct line *l)
{
	int name = 0;

	if (sscanf(text, "%lx-%lx %7s %lx %lx:%lx %lu %n", &l->start, &l->end, l->perms, &l->offset,
	           &l->major, &l->minor, &l->inode, &name) < 7)
		return false;
	l->name = name ? text + name : "";
	text[strcspn(text, "\n")] = 0;
	return true;
}

static FILE *open_maps(const struct traced *task)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/maps", task->tid);
	return fopen(path, "re");
}

/* the maximal stretches of such memory: the pieces of one stack may be mappings of their own */
static void read_stacks(struct trace *t, const struct traced *task)
{
	_cleanup_(fclose_p) FILE *f = open_maps(task);
	char text[4096 + 128];
	struct line l;

	trace_forget_stacks(t);
	t->stacks_of = task->tgid;
	while (f && fgets(text, sizeof(text), f)) {
		struct stack *last = t->n_stacks ? &t->stacks[t->n_stacks - 1] : NULL;
		if (!parse_line(text, &l) || strncmp(l.perms, "rw", 2) || l.perms[3] != 'p' ||
		    l.inode)
			continue;
		if (last && last->end == l.start)
			last->end = l.end;
		else
			*array_push(t->stacks, t->n_stacks) = (struct stack){ l.start, l.end };
	}
}

void trace_forget_stacks(struct trace *t)
{
	free(t->stacks);
	t->stacks = NULL;
	t->n_stacks = 0;
	t->stacks_of = 0;
}

bool trace_is_stack(struct trace *t, const struct traced *task, uint64_t start, uint64_t end)
{
	/* read once per process: a thousand threads have some thousand mappings */
	if (!task->tgid || t->stacks_of != task->tgid)
		read_stacks(t, task);
	size_t low = 0, high = t->n_stacks;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (t->stacks[middle].end <= start)
			low = middle + 1;
		else
			high = middle;
	}
	return low < t->n_stacks && t->stacks[low].start <= start && end <= t->stacks[low].end;
}

/* the offset of the vDSO's usable system call; -1 when there is none */
static ssize_t vdso_syscall(bool *ret_pops)
{
	static ssize_t found = -2;
	static bool pops;

	if (found == -2) {
		const uint8_t *vdso = (const uint8_t *)getauxval(AT_SYSINFO_EHDR);
		const Elf64_Ehdr *ehdr = (const void *)vdso;
		found = -1;
		for (int i = 0; vdso && i < ehdr->e_phnum; i++) {
			const Elf64_Phdr *p = (const void *)(vdso + ehdr->e_phoff +
			                                     (size_t)i * ehdr->e_phentsize);
			if (p->p_type == PT_LOAD && (p->p_flags & PF_X))
				found = arch_find_syscall(vdso + p->p_offset, p->p_filesz, &pops);
			if (found >= 0) {
				found += (ssize_t)p->p_offset;
				break;
			}
		}
	}
	*ret_pops = pops;
	return found;
}

/*
 * Whether the file is on FUSE: opening it asks its server, which may be one of those that are held.
 * Other file systems without a device answer for themselves.
 */
static bool is_on_fuse(const struct traced *task, const struct line *l)
{
	_cleanup_(free_p) char *text = NULL;
	char path[64], device[32];
	size_t size = 0;

	if (l->major != 0)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/mountinfo", task->tid);
	snprintf(device, sizeof(device), " %lu:%lu ", l->major, l->minor);
	_cleanup_(fclose_p) FILE *f = fopen(path, "re");
	while (f && getline(&text, &size, f) > 0) {
		const char *type = strstr(text, " - ");
		const char *at = strstr(text, device);
		if (type && at && at < type && !strncmp(type, " - fuse", 7))
			return true;
	}
	return false;
}

/* the file behind one mapping; -1 when it is not to be had */
static int open_text(const struct traced *task, const struct line *l)
{
	char path[128];
	struct stat st;

	if (is_on_fuse(task, l))
		return -1;
	snprintf(path, sizeof(path), "/proc/%d/map_files/%lx-%lx", task->tid, l->start, l->end);
	_cleanup_(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) { /* needs CAP_CHECKPOINT_RESTORE */
		char by_name[4096 + 64];
		snprintf(by_name, sizeof(by_name), "/proc/%d/root%s", task->tid, l->name);
		fd = open(by_name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	}
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_ino != l->inode || !S_ISREG(st.st_mode))
		return -1;
	return take_fd(&fd);
}

/*
 * The first rt_sigreturn in the text of one mapping, as an offset from its start; -1 none. It is
 * read in pieces that overlap: the C library has it near its beginning.
 */
static ssize_t search_text(const struct traced *task, const struct line *l)
{
	_cleanup_(close_p) int fd = open_text(task, l);
	size_t size = l->end - l->start < TEXT_MAX ? l->end - l->start : TEXT_MAX;
	_cleanup_(free_p) uint8_t *text = xmalloc(TEXT_PIECE);

	for (size_t at = 0; fd >= 0 && at < size; at += TEXT_PIECE - TEXT_OVERLAP) {
		size_t want = size - at < TEXT_PIECE ? size - at : TEXT_PIECE;
		ssize_t n = pread(fd, text, want, (off_t)(l->offset + at));
		ssize_t found = n > 0 ? arch_find_sigreturn(text, (size_t)n) : -1;
		if (found >= 0)
			return (ssize_t)at + found;
		if (n < (ssize_t)want)
			break;
	}
	return -1;
}

/*
 * Whether the task may have other code there than its file: a page of its own. One that it shares
 * with the file, or has not touched, is not read, which would make it present.
 */
static bool is_patched(const struct traced *task, uint64_t address)
{
	char path[64];
	uint8_t code[9];
	uint64_t entry[2] = { 0 };
	const uint64_t page = 4096, in_memory = 1ull << 63 | 1ull << 62, of_file = 1ull << 61;
	uint64_t first = address / page, last = (address + sizeof(code) - 1) / page;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", task->tid);
	_cleanup_(close_p) int pagemap = open(path, O_RDONLY | O_CLOEXEC);
	size_t size = (last - first + 1) * sizeof(entry[0]);
	if (pread(pagemap, entry, size, (off_t)(first * sizeof(entry[0]))) != (ssize_t)size)
		return true;
	bool own = false;
	for (size_t i = 0; i <= last - first; i++)
		own = own || (entry[i] & in_memory && !(entry[i] & of_file));
	if (!own)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/mem", task->tid);
	_cleanup_(close_p) int mem = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = pread(mem, code, sizeof(code), (off_t)address);
	return n <= 0 || arch_find_sigreturn(code, (size_t)n) != 0;
}

/* looks in one mapping; the address of the instruction or 0 */
static uint64_t look_in(struct trace *t, const struct traced *task, const struct line *l)
{
	for (size_t i = 0; i < t->n_libc_gadgets; i++) {
		const struct libc_gadget *g = &t->libc_gadgets[i];
		if (g->inode != l->inode || g->dev_major != l->major || g->dev_minor != l->minor ||
		    g->offset < (int64_t)l->offset ||
		    g->offset >= (int64_t)(l->offset + (l->end - l->start)))
			continue;
		return l->start + ((uint64_t)g->offset - l->offset);
	}
	ssize_t found = search_text(task, l);
	if (found < 0)
		return 0;
	*array_push(t->libc_gadgets, t->n_libc_gadgets) = (struct libc_gadget){
		.dev_major = l->major,
		.dev_minor = l->minor,
		.inode = l->inode,
		.offset = found + (int64_t)l->offset,
	};
	return l->start + (uint64_t)found;
}

/* the C library first: every other text is searched only when it has none */
static uint64_t find_sigreturn(struct trace *t, const struct traced *task, uint64_t *ret_vdso)
{
	uint64_t found = 0;

	*ret_vdso = 0;
	for (int pass = 0; pass < 2 && !found; pass++) {
		_cleanup_(fclose_p) FILE *f = open_maps(task);
		char text[4096 + 128];
		struct line l;
		while (f && fgets(text, sizeof(text), f)) {
			if (!parse_line(text, &l) || l.perms[2] != 'x')
				continue;
			if (!strcmp(l.name, "[vdso]"))
				*ret_vdso = l.start;
			const char *base = strrchr(l.name, '/');
			bool libc = base && (!strncmp(base, "/libc", 5) || strstr(base, "musl"));
			if (found || !l.inode || libc != (pass == 0))
				continue;
			found = look_in(t, task, &l);
			if (found && is_patched(task, found))
				found = 0;
		}
	}
	return found;
}

int trace_find_gadget(struct trace *t, const struct traced *task, struct gadget *ret,
                      struct error *err)
{
	uint64_t vdso;
	ssize_t offset = vdso_syscall(&ret->pops);

	/* the threads of a process share it */
	const struct traced *leader = trace_find(t, task->tgid);
	if (leader && leader != task && leader->gadget.syscall_ip && !leader->gone) {
		*ret = leader->gadget;
		return 0;
	}
	ret->sigreturn_ip = find_sigreturn(t, task, &vdso);
	if (!vdso || offset < 0)
		return error_refuse(err, CODE_inject_gadget, "no system call can be made in it: %s",
		                    vdso ? "this kernel's vDSO has no plain one"
		                         : "it has no vDSO");
	if (!ret->sigreturn_ip)
		return error_refuse(
			err, CODE_inject_gadget,
			"no code of it calls rt_sigreturn, so it could not be left safe");
	ret->syscall_ip = vdso + (uint64_t)offset;
	return 0;
}
