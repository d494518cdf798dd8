/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NUMA policies. See numa.h. Built to the documentation: the machine it grew on has one node. */
#include "kind/mm/numa.h"

#include <linux/mempolicy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "core/checkpoint.h"
#include "task/stub.h"
#include "task/task.h"
#include "task/tracer.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define DEAR_PAGES 500 /* measured: 50 ns per page, some 25 us per call that is injected */
#define MODE_FLAGS (MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES)

static const struct {
	const char *name;
	uint32_t mode;
} modes[] = {
	/* mpol_to_str(), mm/mempolicy.c */
	{ "default", MPOL_DEFAULT },
	{ "prefer", MPOL_PREFERRED },
	{ "bind", MPOL_BIND },
	{ "interleave", MPOL_INTERLEAVE },
	{ "local", MPOL_LOCAL },
	{ "prefer (many)", 5 /* MPOL_PREFERRED_MANY, 5.15 */ },
	{ "weighted interleave", 6 /* MPOL_WEIGHTED_INTERLEAVE, 6.9 */ },
};

static int parse_nodes(const char *list, uint64_t *ret)
{
	if (!*list)
		return -EINVAL;
	while (*list) {
		char *end;
		unsigned long first = strtoul(list, &end, 10), last = first;

		if (end == list)
			return -EINVAL;
		if (*end == '-') {
			list = end + 1;
			last = strtoul(list, &end, 10);
			if (end == list)
				return -EINVAL;
		}
		if (first > last || last > 63)
			return -EINVAL;
		for (unsigned long node = first; node <= last; node++)
			*ret |= 1ull << node;
		if (*end && *end != ',')
			return -EINVAL;
		list = *end ? end + 1 : end;
	}
	return 0;
}

int mm_policy_parse(const char *text, uint32_t *ret_mode, uint64_t *ret_nodes)
{
	size_t name = strcspn(text, "=:");
	const char *rest = text + name;

	*ret_nodes = 0;
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strlen(modes[i].name) != name || strncmp(modes[i].name, text, name) != 0)
			continue;
		*ret_mode = modes[i].mode;
		if (!strncmp(rest, "=static", 7)) {
			*ret_mode |= MPOL_F_STATIC_NODES;
			rest += 7;
		} else if (!strncmp(rest, "=relative", 9)) {
			*ret_mode |= MPOL_F_RELATIVE_NODES;
			rest += 9;
		}
		if (*rest == ':')
			return parse_nodes(rest + 1, ret_nodes);
		return *rest ? -EINVAL : 0;
	}
	return -EINVAL;
}

static MmState__Mapping *mapping_from(MmState *s, uint64_t start)
{
	size_t low = 0, high = s->n_mappings;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (s->mappings[middle]->start == start)
			return s->mappings[middle];
		if (s->mappings[middle]->start < start)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* the index plus 1 of this policy in the state's list */
static uint32_t policy_index(MmState *s, uint32_t mode, uint64_t nodes)
{
	MmState__Policy *p = NULL;

	for (size_t i = 0; i < s->n_policies; i++) {
		uint64_t mask = 0;
		p = s->policies[i];
		for (size_t k = 0; k < p->n_nodes; k++)
			mask |= 1ull << p->nodes[k];
		if (p->mode == mode && mask == nodes)
			return (uint32_t)i + 1;
	}
	p = xmalloc(sizeof(*p));
	mm_state__policy__init(p);
	p->mode = mode;
	for (uint32_t node = 0; node < 64; node++)
		if (nodes >> node & 1)
			*array_push(p->nodes, p->n_nodes) = node;
	*array_push(s->policies, s->n_policies) = p;
	return (uint32_t)s->n_policies;
}

/* "START POLICY key=value...": the policy may have a blank in it ("prefer (many):0") */
static void collect_line(struct checkpoint *c, struct task *task, MmState *s, char *line)
{
	struct error refusal = ERROR_INIT;
	char *policy, *end;
	uint64_t start = strtoull(line, &policy, 16), nodes = 0;
	uint32_t mode = 0;
	MmState__Mapping *m = mapping_from(s, start);

	if (!m || *policy != ' ')
		return;
	policy++;
	end = policy + (strncmp(policy, "prefer (", 8) && strncmp(policy, "weighted ", 9) ? 0 : 9);
	end += strcspn(end, " ");
	*end = '\0';
	if (mm_policy_parse(policy, &mode, &nodes) < 0) {
		error_refuse(&refusal, CODE_unknown_state,
		             "numa_maps shows policy \"%.40s\", which this version does not know",
		             policy);
		error_object(&refusal, "mapping %llx", (unsigned long long)start);
		refuse(c, task, &refusal);
	} else if (mode != MPOL_DEFAULT) {
		m->policy = policy_index(s, mode, nodes);
	}
}

/* numa_maps counts all pages: from so many per mapping on it costs more than asking the task */
static bool is_dear(const struct task *task, const MmState *s)
{
	_cleanup_(free_p) char *text = NULL;
	unsigned long resident = 0;
	struct error ignored;

	if (task_read(task, "statm", &text, NULL, &ignored) < 0 ||
	    sscanf(text, "%*u %lu", &resident) != 1)
		return false;
	return resident / DEAR_PAGES > s->n_mappings;
}

/* has every mapping the default policy? false when the task could not be asked */
static bool all_default(struct checkpoint *c, const struct task *task, const MmState *s)
{
	int found[INJECT_BUFFER_SIZE / sizeof(int)];
	struct injection calls[INJECT_BUFFER_SIZE / sizeof(int)] = { 0 };
	struct error ignored = ERROR_INIT;

	if (!c->tracer || !s->n_mappings || s->n_mappings > sizeof(found) / sizeof(found[0]))
		return false;
	memset(found, 0xff, sizeof(found));
	for (size_t i = 0; i < s->n_mappings; i++)
		calls[i] = (struct injection){
			.nr = SYS_get_mempolicy,
			.arg = { i * sizeof(int), 0, 0, s->mappings[i]->start, MPOL_F_ADDR },
			.buffer_args = 1 << 0,
		};
	if (tracer_inject(c->tracer, task->tid, calls, s->n_mappings, found, &ignored) < 0)
		return false;
	for (size_t i = 0; i < s->n_mappings; i++)
		if (calls[i].result < 0 || found[i] != MPOL_DEFAULT)
			return false;
	return true;
}

int mm_collect_policies(struct checkpoint *c, struct task *task, MmState *state, struct error *err)
{
	_cleanup_(free_p) char *text = NULL;
	char *save = NULL;
	if (is_dear(task, state) && all_default(c, task, state))
		return 0;
	int r = task_read(task, "numa_maps", &text, NULL, err);

	if (r == -ENOENT)
		return 0; /* CONFIG_NUMA is off: there are no policies */
	if (r < 0)
		return error_trace(err, r);
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		collect_line(c, task, state, line);
	return 0;
}

void mm_install_policies(const MmState *s, struct stub *stub)
{
	for (size_t i = 0; i < s->n_mappings; i++) {
		const MmState__Mapping *m = s->mappings[i];
		uint64_t mask = 0;

		if (!m->policy)
			continue;
		const MmState__Policy *p = s->policies[m->policy - 1];
		for (size_t k = 0; k < p->n_nodes; k++)
			mask |= 1ull << p->nodes[k];
		calls_reserve(stub->calls, 1, sizeof(mask));
		/* maxnode counts one more than it uses, mbind(2) BUGS */
		CALL(stub->calls, mbind, m->start, m->size, p->mode,
		     mask ? calls_copy(stub->calls, &mask, sizeof(mask)) : 0, mask ? 65 : 0, 0);
	}
}

int mm_validate_policies(const MmState *s, struct error *err)
{
	for (size_t i = 0; i < s->n_policies; i++) {
		const MmState__Policy *p = s->policies[i];

		if ((p->mode & ~(uint32_t)MODE_FLAGS) > 6 || p->n_nodes > 64)
			return error_raise(err, EBADMSG, "NUMA policy %zu is invalid", i);
		for (size_t k = 0; k < p->n_nodes; k++)
			if (p->nodes[k] > 63)
				return error_raise(err, EBADMSG, "NUMA policy %zu names node %u", i,
				                   p->nodes[k]);
	}
	for (size_t i = 0; i < s->n_mappings; i++)
		if (s->mappings[i]->policy > s->n_policies)
			return error_raise(err, EBADMSG, "mapping %zu has NUMA policy %u of %zu", i,
			                   s->mappings[i]->policy, s->n_policies);
	return 0;
}
