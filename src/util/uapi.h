/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Definitions of kernel interfaces that are newer than the headers of Debian 12 (6.1), each with
 * the kernel that brought it. Nothing here may be used without asking feature() first, or handling
 * ENOSYS and EINVAL.
 */
#pragma once

#include <linux/ioctl.h>
#include <linux/types.h>
#include <sys/syscall.h>

/* 6.9, pidfd_open(2): a descriptor of one thread */
#ifndef PIDFD_THREAD
#define PIDFD_THREAD 00000200 /* O_EXCL */
#endif

/* 6.7, linux/fs.h: ioctl on /proc/PID/pagemap */
#ifndef PAGEMAP_SCAN
#define PAGE_IS_WPALLOWED  (1 << 0)
#define PAGE_IS_WRITTEN    (1 << 1)
#define PAGE_IS_FILE       (1 << 2)
#define PAGE_IS_PRESENT    (1 << 3)
#define PAGE_IS_SWAPPED    (1 << 4)
#define PAGE_IS_PFNZERO    (1 << 5)
#define PAGE_IS_HUGE       (1 << 6)
#define PAGE_IS_SOFT_DIRTY (1 << 7)
struct page_region {
	__u64 start, end, categories;
};
#define PM_SCAN_WP_MATCHING   (1 << 0)
#define PM_SCAN_CHECK_WPASYNC (1 << 1)
struct pm_scan_arg {
	__u64 size, flags, start, end, walk_end, vec, vec_len, max_pages;
	__u64 category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define PAGEMAP_SCAN _IOWR('f', 16, struct pm_scan_arg)
#endif
#ifndef PAGE_IS_GUARD
#define PAGE_IS_GUARD (1 << 8) /* 6.15 */
#endif

/* 6.13, madvise(2) */
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE  103
#endif

/* 6.11, mmap(2) */
#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08
#endif

/* 6.5, cachestat(2) */
#ifndef __NR_cachestat
#define __NR_cachestat 451
struct cachestat_range {
	__u64 off, len;
};
struct cachestat {
	__u64 nr_cache, nr_dirty, nr_writeback, nr_evicted, nr_recently_evicted;
};
#endif

/* system calls; the numbers are the same on all architectures since 5.x */
#ifndef __NR_statmount
#define __NR_statmount 457 /* 6.8 */
#define __NR_listmount 458 /* 6.8 */
#endif
#ifndef __NR_mseal
#define __NR_mseal 462 /* 6.10 */
#endif

/* 6.8, linux/mount.h: statmount(2) and listmount(2) */
#ifndef STATMOUNT_SB_BASIC
struct mnt_id_req {
	__u32 size, spare;
	__u64 mnt_id, param;
	__u64 mnt_ns_id; /* 6.11 */
};
#define MNT_ID_REQ_SIZE_VER0     24
#define MNT_ID_REQ_SIZE_VER1     32 /* 6.11 */
#define STATMOUNT_SB_BASIC       0x01
#define STATMOUNT_MNT_BASIC      0x02
#define STATMOUNT_PROPAGATE_FROM 0x04
#define STATMOUNT_MNT_ROOT       0x08
#define STATMOUNT_MNT_POINT      0x10
#define STATMOUNT_FS_TYPE        0x20
#define STATMOUNT_MNT_NS_ID      0x40  /* 6.11 */
#define STATMOUNT_FS_SUBTYPE     0x100 /* 6.13, and the next two */
#define STATMOUNT_SB_SOURCE      0x200
#define STATMOUNT_OPT_ARRAY      0x400
#define STATMOUNT_OPT_SEC_ARRAY  0x800  /* 6.13 */
#define STATMOUNT_SUPPORTED_MASK 0x1000 /* 6.15, and the next two */
#define STATMOUNT_MNT_UIDMAP     0x2000
#define STATMOUNT_MNT_GIDMAP     0x4000
#define LSMT_ROOT                0xffffffffffffffffULL
struct statmount {
	__u32 size, mnt_opts;
	__u64 mask;
	__u32 sb_dev_major, sb_dev_minor;
	__u64 sb_magic;
	__u32 sb_flags, fs_type;
	__u64 mnt_id, mnt_parent_id;
	__u32 mnt_id_old, mnt_parent_id_old;
	__u64 mnt_attr, mnt_propagation, mnt_peer_group, mnt_master, propagate_from;
	__u32 mnt_root, mnt_point;
	__u64 mnt_ns_id;             /* 6.11 */
	__u32 fs_subtype, sb_source; /* 6.13, and the next two */
	__u32 opt_num, opt_array;
	__u32 opt_sec_num, opt_sec_array;
	__u64 supported_mask; /* 6.15, and the next two */
	__u32 mnt_uidmap_num, mnt_uidmap;
	__u32 mnt_gidmap_num, mnt_gidmap;
	__u64 spare2[43];
	char str[];
};
#endif
#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x00004000U /* 6.8 */
#endif

/* linux/fcntl.h */
#ifndef AT_HANDLE_FID
#define AT_HANDLE_FID 0x200 /* 6.5 */
#endif
/* linux/exportfs.h: of an overlay */
#define OVL_FILEID_V1 0xf8

/* 6.11, linux/nsfs.h, on a descriptor of a pid namespace: our number of a pid there; the reverse */
#ifndef NS_GET_PID_IN_PIDNS
#define NS_GET_PID_FROM_PIDNS _IOR(0xb7, 0x6, int)
#define NS_GET_PID_IN_PIDNS   _IOR(0xb7, 0x8, int)
#endif

/* linux/nsfs.h: ioctls on descriptors of mount namespaces */
#ifndef NS_MNT_GET_INFO
struct mnt_ns_info {
	__u32 size, nr_mounts;
	__u64 mnt_ns_id;
};
#define NS_GET_MNTNS_ID _IOR(0xb7, 0x5, __u64)             /* 6.11 */
#define NS_MNT_GET_INFO _IOR(0xb7, 10, struct mnt_ns_info) /* 6.12, and the next two */
#define NS_MNT_GET_NEXT _IOR(0xb7, 11, struct mnt_ns_info)
#define NS_MNT_GET_PREV _IOR(0xb7, 12, struct mnt_ns_info)
#endif

/* 6.6, linux/mount.h: fsconfig(2), a superblock that is nobody else's */
#define FSCONFIG_CMD_CREATE_EXCL_NR 8

/* 6.3 and 6.6, prctl(2): memory-deny-write-execute */
#ifndef PR_SET_MDWE
#define PR_SET_MDWE              65
#define PR_GET_MDWE              66
#define PR_MDWE_REFUSE_EXEC_GAIN (1UL << 0)
#endif
#ifndef PR_MDWE_NO_INHERIT
#define PR_MDWE_NO_INHERIT (1UL << 1)
#endif

/* 6.4, prctl(2): KSM for the whole process */
#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67
#define PR_GET_MEMORY_MERGE 68
#endif

/* 6.16, prctl(2): timer_create(2) takes the id from *created_timer_id */
#ifndef PR_TIMER_CREATE_RESTORE_IDS
#define PR_TIMER_CREATE_RESTORE_IDS     77
#define PR_TIMER_CREATE_RESTORE_IDS_OFF 0
#define PR_TIMER_CREATE_RESTORE_IDS_ON  1
#define PR_TIMER_CREATE_RESTORE_IDS_GET 2
#endif

/* 6.16, prctl(2): private futex hash of the process */
#ifndef PR_FUTEX_HASH
#define PR_FUTEX_HASH           78
#define PR_FUTEX_HASH_SET_SLOTS 1
#define PR_FUTEX_HASH_GET_SLOTS 2
#endif

/* 6.18, prctl(2): THPs only where madvise asks for them */
#ifndef PR_THP_DISABLE_EXCEPT_ADVISED
#define PR_THP_DISABLE_EXCEPT_ADVISED (1 << 1)
#endif

/* 6.3, membarrier(2) */
#define MEMBARRIER_GET_REGISTRATIONS (1 << 9)

/* 6.4, ptrace(2) */
#ifndef PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG
#define PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG 0x4210
#define PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG 0x4211
struct ptrace_sud_config {
	__u64 mode, selector, offset, len;
};
#endif

/* 6.5, linux/sched/types.h is the same; sched_setattr(2) */
#ifndef SCHED_EXT
#define SCHED_EXT 7 /* 6.12 */
#endif

/* Linux 6.9 */
#ifndef FS_IOC_GETFSUUID
struct fsuuid2 {
	__u8 len;
	__u8 uuid[16];
};
#define FS_IOC_GETFSUUID _IOR(0x15, 0, struct fsuuid2)
#endif
