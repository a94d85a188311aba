"""The system call filter of every sandbox, as classic BPF.

A sandbox has no capability and its own namespaces; the filter takes away what is
left that a build or an agent has no use for and that kernel bugs were found in:
mounting, more namespaces, keys, eBPF, io_uring, modules, virtual-machine sockets.
Numbers: linux/arch/x86/entry/syscalls/syscall_64.tbl and
include/uapi/asm-generic/unistd.h. Layout of the data the filter sees:
`struct seccomp_data {int nr; u32 arch; u64 ip; u64 args[6]}`, linux/seccomp.h.
"""

import errno
import platform
import socket
import struct

LOAD, JUMP_EQUAL, JUMP_GREATER_EQUAL, JUMP_ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, ERROR = 0x7FFF0000, 0x00050000
NUMBER, ARCHITECTURE, ARGUMENT_0, ARGUMENT_1 = 0, 4, 16, 24
X32_BIT = 0x40000000

# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET (linux/sched.h).
NEW_NAMESPACES = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
TERMINAL_INJECTION = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
# AF_ALG (kernel crypto) and AF_VSOCK (reaches the hypervisor past the network namespace).
CLOSED_FAMILIES = (38, getattr(socket, "AF_VSOCK", 40))

# audit architecture, then: clone, clone3, ioctl, socket, and the calls refused outright.
X86_64 = {
    "audit": 0xC000003E, "clone": 56, "clone3": 435, "ioctl": 16, "socket": 41, "unshare": 272, "setns": 308,
    "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "swapon": 167, "swapoff": 168, "reboot": 169,
    "sethostname": 170, "setdomainname": 171, "iopl": 172, "ioperm": 173, "init_module": 175, "delete_module": 176,
    "quotactl": 179, "settimeofday": 164, "acct": 163, "syslog": 103, "add_key": 248, "request_key": 249,
    "keyctl": 250, "kexec_load": 246, "kexec_file_load": 320, "finit_module": 313, "bpf": 321, "userfaultfd": 323,
    "perf_event_open": 298, "open_by_handle_at": 304, "clock_settime": 227, "clock_adjtime": 305, "adjtimex": 159,
    "lookup_dcookie": 212, "fanotify_init": 300, "vhangup": 153, "quotactl_fd": 443,
}  # fmt: skip
AARCH64 = {
    "audit": 0xC00000B7, "clone": 220, "clone3": 435, "ioctl": 29, "socket": 198, "unshare": 97, "setns": 268,
    "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51, "swapon": 224, "swapoff": 225, "reboot": 142,
    "sethostname": 161, "setdomainname": 162, "init_module": 105, "delete_module": 106,
    "quotactl": 60, "settimeofday": 170, "acct": 89, "syslog": 116, "add_key": 217, "request_key": 218,
    "keyctl": 219, "kexec_load": 104, "kexec_file_load": 294, "finit_module": 273, "bpf": 280, "userfaultfd": 282,
    "perf_event_open": 241, "open_by_handle_at": 265, "clock_settime": 112, "clock_adjtime": 266, "adjtimex": 171,
    "lookup_dcookie": 18, "fanotify_init": 262, "vhangup": 58, "quotactl_fd": 443,
}  # fmt: skip
# The same number everywhere: io_uring_*, open_tree, move_mount, fsopen .. fspick, mount_setattr.
COMMON = (425, 426, 427, 428, 429, 430, 431, 432, 433, 442)
TABLES = {"x86_64": X86_64, "aarch64": AARCH64}
SPECIAL = ("audit", "clone", "clone3", "ioctl", "socket")


def instruction(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def refuse_when(number: int, offset: int, code: int, values: tuple[int, ...]) -> bytes:
    """Answer EPERM to call `number` when one argument matches one of `values`."""
    refusals = b"".join(instruction(code, value, 0, 1) + refuse(errno.EPERM) for value in values)
    body = instruction(LOAD, offset) + refusals + instruction(RETURN, ALLOW)
    return instruction(JUMP_EQUAL, number, 0, len(body) // 8) + body


def refuse(code: int) -> bytes:
    return instruction(RETURN, ERROR | code)


def build(machine: str = "") -> bytes:
    """The filter for this machine's processor, for `bwrap --seccomp`.

    Raises KeyError for a processor without a table (only x86_64 and aarch64 have one).
    """
    table = TABLES[machine or platform.machine()]
    program = instruction(LOAD, ARCHITECTURE) + instruction(JUMP_EQUAL, table["audit"], 1, 0) + refuse(errno.ENOSYS)
    program += instruction(LOAD, NUMBER)
    if table is X86_64:
        program += instruction(JUMP_GREATER_EQUAL, X32_BIT, 0, 1) + refuse(errno.ENOSYS)
    for number in (*(table[name] for name in table if name not in SPECIAL), *COMMON):
        program += instruction(JUMP_EQUAL, number, 0, 1) + refuse(errno.EPERM)
    # Its flags are behind a pointer that a filter can't follow; the C library falls back to clone.
    program += instruction(JUMP_EQUAL, table["clone3"], 0, 1) + refuse(errno.ENOSYS)
    program += refuse_when(table["clone"], ARGUMENT_0, JUMP_ANY_BIT, (NEW_NAMESPACES,))
    program += refuse_when(table["ioctl"], ARGUMENT_1, JUMP_EQUAL, TERMINAL_INJECTION)
    program += refuse_when(table["socket"], ARGUMENT_0, JUMP_EQUAL, CLOSED_FAMILIES)
    return program + instruction(RETURN, ALLOW)
