// Compiles a kernel for several instruction sets; the version to run is chosen when the library is loaded.
#pragma once

// Intrinsics with `target` attributes, and __builtin_cpu_supports, are available.
#if defined(__x86_64__) && defined(__GNUC__)
#define KPTOOL_X86 1
#endif

// target_clones needs a dynamic loader with ifunc support (glibc). It cannot be used with ThreadSanitizer,
// which instruments the resolver function with calls that are not linked yet when it runs.
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
