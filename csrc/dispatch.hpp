// Several versions of a kernel in one binary, chosen when it is loaded.
#pragma once

// Intrinsics with `target` attributes, and __builtin_cpu_supports.
#if defined(__x86_64__) && defined(__GNUC__)
#define KPTOOL_X86 1
#endif

// The compiler makes the versions, and the loader, which must know how, chooses. It cannot where
// ThreadSanitizer puts calls into the choosing function: those are not linked yet.
#if KPTOOL_X86 && defined(__linux__)
#include <features.h>
#endif
#if KPTOOL_X86 && defined(__GLIBC__) && !defined(__SANITIZE_THREAD__)
#define KPTOOL_VERSIONS __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define KPTOOL_VERSIONS
#endif

#if defined(__GNUC__)
#define KPTOOL_INLINE inline __attribute__((always_inline))
#define KPTOOL_RESTRICT __restrict__
#else
#define KPTOOL_RESTRICT
#define KPTOOL_INLINE inline
#endif
