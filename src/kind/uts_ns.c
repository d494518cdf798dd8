/* SPDX-License-Identifier: GPL-2.0-or-later */
/* UTS namespaces. See uts_ns.h. */
#include "kind/uts_ns.h"

#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "host/enter.h"
#include "host/helper.h"
#include "kind/namespace/ns.h"
#include "kind/user_ns.h"
#include "util/alloc.h"
#include "uts_ns.pb-c.h"

#define NAME_MAX_LEN 64 /* __NEW_UTS_LEN */

static const struct ns_type type = { "uts", CLONE_NEWUTS, "UTS" };

static int collect(struct checkpoint *c, struct task *task, struct error *err)
{
	struct object *object;

	return ns_collect(c, task, &uts_ns_kind, &type, &object, err);
}

int uts_ns_collect_fd(struct checkpoint *c, const struct task *task, int nsfd, struct object **ret,
                      struct error *err)
{
	return ns_collect_fd(c, task, nsfd, &uts_ns_kind, &type, ret, NULL, err);
}

struct asking {
	int fd;
	struct utsname names;
};

static int ask_in_helper(void *arg, struct error *err)
{
	struct asking *a = arg;

	if (namespace_enter(a->fd, CLONE_NEWUTS) < 0 || uname(&a->names) < 0)
		return error_raise(err, errno, "enter a UTS namespace");
	return 0;
}

static int save(struct checkpoint *c, struct object *object, struct error *err)
{
	struct asking a = { .fd = ((struct ns *)object->live)->fd };
	int r = helper_run_here(ask_in_helper, &a, err);

	if (r < 0)
		return error_trace(err, r);
	UtsNsState *s = xmalloc(sizeof(*s));
	uts_ns_state__init(s);
	object->message = &s->base;
	s->owner = ns_owner(object);
	s->node_name = bytes_of_text(a.names.nodename);
	s->domain_name = bytes_of_text(a.names.domainname);
	return 0;
}

static int validate(const struct objects *objects, const struct object *object, struct error *err)
{
	const UtsNsState *s = object_state(object, UtsNsState);

	if (s->node_name.len > NAME_MAX_LEN || bytes_have_nul(&s->node_name) ||
	    s->domain_name.len > NAME_MAX_LEN || bytes_have_nul(&s->domain_name))
		return error_raise(err, EBADMSG, "a host name of %zu bytes, a domain name of %zu",
		                   s->node_name.len, s->domain_name.len);
	if (!user_ns_valid_id(objects, s->owner))
		return error_raise(err, EBADMSG, "a UTS namespace of object %u", s->owner);
	return 0;
}

static int fill(const struct object *object, struct error *err)
{
	const UtsNsState *s = object_state(object, UtsNsState);

	if (sethostname((const char *)s->node_name.data, s->node_name.len) < 0 ||
	    setdomainname((const char *)s->domain_name.data, s->domain_name.len) < 0)
		return error_raise(err, errno, "set the host name and the domain name");
	return 0;
}

static int restore(struct restart *r, struct object *object, struct error *err)
{
	int owner = user_ns_fd(r, object_state(object, UtsNsState)->owner);
	int e = ns_make(object, &type, owner, fill, err);

	return e < 0 ? error_trace(err, e) : 0;
}

const struct kind uts_ns_kind = {
	.name = "uts_ns",
	.number = 60,
	.message = &uts_ns_state__descriptor,
	.collect = collect,
	.judge = ns_judge,
	.save = save,
	.validate = validate,
	.restore = restore,
	.enter = ns_enter,
	.release = ns_release,
};
