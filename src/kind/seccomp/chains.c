/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which filters are installed before which clone. See chains.h. */
#include "kind/seccomp/chains.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/restart.h"
#include "kind/seccomp.h"
#include "task/plan.h"
#include "task/stub.h"
#include "util/alloc.h"

/* the first n filters of a state; state NULL: no limit (a placeholder without descendants) */
struct prefix {
	const SeccompState *state;
	size_t n;
};

struct chains {
	struct chain_part *before_clone; /* by node */
	size_t *installed;               /* by node */
};

static bool same_filter(const SeccompFilter *a, const SeccompFilter *b)
{
	return a->log == b->log && a->program.len == b->program.len &&
	       !memcmp(a->program.data, b->program.data, a->program.len);
}

static struct prefix common(struct prefix a, struct prefix b)
{
	size_t n = 0;

	if (!a.state || !b.state)
		return a.state ? a : b;
	while (n < a.n && n < b.n &&
	       (a.state == b.state || same_filter(a.state->filters[n], b.state->filters[n])))
		n++;
	return (struct prefix){ a.state, n };
}

static struct prefix own_chain(const struct stub *stub)
{
	const struct object *object = stub_object(stub, &seccomp_kind);

	if (!object)
		return (struct prefix){ 0 };
	const SeccompState *s = object_state(object, SeccompState);
	return (struct prefix){ s, s->n_filters };
}

/*
 * Backwards through the plan: @limit is what a node may have at most, for the sake of itself and of
 * all that it clones from the present step on.
 */
static void find_limits(const struct restart *r, struct chains *chains)
{
	const struct plan *plan = r->plan;
	struct prefix *limit = xcalloc(plan->n_nodes, sizeof(*limit));

	for (size_t i = 0; i < plan->n_nodes; i++)
		limit[i] = own_chain(r->stubs[i]);
	for (size_t i = plan->n_steps; i-- > 0;) {
		const struct plan_step *step = &plan->steps[i];
		if (step->action != PLAN_CLONE || step->actor == PLAN_COORDINATOR)
			continue;
		limit[step->actor] = common(limit[step->actor], limit[step->node]);
		chains->before_clone[step->node].state = limit[step->actor].state;
		chains->before_clone[step->node].to = limit[step->actor].n;
	}
	free(limit);
}

/* forwards: what each has by then, and passes on. Nothing is installed for placeholders' sake. */
static void find_starts(const struct restart *r, struct chains *chains)
{
	const struct plan *plan = r->plan;

	for (size_t i = 0; i < plan->n_steps; i++) {
		const struct plan_step *step = &plan->steps[i];
		if (step->action != PLAN_CLONE || step->actor == PLAN_COORDINATOR)
			continue;
		struct chain_part *part = &chains->before_clone[step->node];
		part->from = chains->installed[step->actor];
		if (plan->nodes[step->node].is_task && part->to > part->from)
			chains->installed[step->actor] = part->to;
		chains->installed[step->node] = chains->installed[step->actor];
	}
}

struct chains *chains_new(const struct restart *r)
{
	struct chains *chains = xcalloc(1, sizeof(*chains));

	chains->before_clone = xcalloc(r->plan->n_nodes, sizeof(*chains->before_clone));
	chains->installed = xcalloc(r->plan->n_nodes, sizeof(*chains->installed));
	find_limits(r, chains);
	find_starts(r, chains);
	return chains;
}

void chains_free(struct chains *chains)
{
	if (!chains)
		return;
	free(chains->before_clone);
	free(chains->installed);
	free(chains);
}

struct chain_part chains_before_clone(const struct chains *chains, const struct stub *child)
{
	return chains->before_clone[child->node];
}

size_t chains_installed(const struct chains *chains, const struct stub *stub)
{
	return chains->installed[stub->node];
}
