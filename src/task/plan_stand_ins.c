/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tree planner: placeholders that stand in for the dead, for the sake of pages. See plan.h.
 */
#include "task/plan_building.h"

#include <sched.h>
#include <signal.h>

#include "util/map.h"

bool plan_has_stand_ins(const struct planner *p, uint32_t x)
{
	const struct plan_node *n = &p->plan->nodes[x];
	const struct member *m = &p->members[x];

	return (m->orphan || p->tasks[x].n_stand_ins) &&
	       p->tasks[x].n_stand_ins <= PLAN_STAND_INS_MAX && !n->flags &&
	       n->exit_signal == SIGCHLD && (m->orphan || n->creator == m->parent) &&
	       n->ns == ns_of(p, n->creator) && (m->orphan || !m->birth_in);
}

void plan_end_stand_ins(struct planner *p, struct stand_ins *s, size_t n)
{
	for (; s->n > n; s->n--)
		if (!s->all[s->n - 1].leads)
			plan_add_step(p, PLAN_EXIT, s->all[s->n - 1].node, s->all[s->n - 1].reaper);
}

/*
 * What CLONE_PARENT makes has the parent of its maker, and the signal that this sends when it ends,
 * clone(2).
 */
static void make_for_parent(struct planner *p, uint32_t node, uint32_t creator)
{
	struct plan_node *n = &p->plan->nodes[node];

	n->creator = creator;
	n->flags |= CLONE_PARENT;
	n->exit_signal = 0;
}

/* one more, from the last one */
static void add_stand_in(struct planner *p, struct building *b, struct stand_ins *s,
                         uint32_t number, pid_t group)
{
	const uint32_t creator = s->n ? s->all[s->n - 1].node : s->maker;
	pid_t session = s->n ? s->all[s->n - 1].session : 0;
	struct lead *lead = map_get(p->leads, &number, sizeof(number));
	bool leads = lead && !lead->early && !lead->made;
	struct plan_pid who = { .ns = ns_of(p, s->maker) };

	if (leads)
		who = *plan_dead_leader(p, lead->sid);
	uint32_t node = plan_add_placeholder(p, creator, who, session ? session : group);
	p->plan->nodes[node].exit_signal = SIGCHLD;
	if (s->n)
		make_for_parent(p, node, creator);
	if (leads) {
		lead->made = true;
		session = lead->sid;
		plan_lead_session(p, b, node, session, lead->reaper);
	}
	s->all[s->n].node = node;
	s->all[s->n].number = number;
	s->all[s->n].reaper = PLAN_NONE;
	s->all[s->n].session = session;
	s->all[s->n++].leads = leads;
}

void plan_go_to_stand_ins(struct planner *p, struct building *b, struct stand_ins *s, uint32_t x,
                          pid_t group)
{
	const struct plan_task *t = &p->tasks[x];
	uint32_t maker = p->plan->nodes[x].creator;
	uint32_t reaper = p->members[x].orphan ? p->members[p->members[x].parent].leader
	                                       : PLAN_NONE;
	size_t same = 0, wanted = t->n_stand_ins;

	while (s->n && s->maker == maker && same < s->n && same < t->n_stand_ins &&
	       s->all[same].number == t->stand_ins[same])
		same++;
	/* what one leaves behind goes to one process: another makes it, if need be */
	bool engaged = same && same == wanted && s->all[same - 1].reaper != PLAN_NONE &&
	               s->all[same - 1].reaper != reaper;
	if (reaper != PLAN_NONE && (!wanted || engaged))
		wanted++;
	plan_end_stand_ins(p, s, same);
	s->maker = maker;
	while (s->n < wanted)
		add_stand_in(p, b, s, s->n < t->n_stand_ins ? t->stand_ins[s->n] : 0, group);
	if (reaper == PLAN_NONE) {
		make_for_parent(p, x, s->all[s->n - 1].node);
		return;
	}
	p->plan->nodes[x].creator = s->all[s->n - 1].node;
	s->all[s->n - 1].reaper = reaper;
}
