// Several versions of a kernel in one binary, chosen when it is loaded.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && defined(__GLIBC__)
#define KPTOOL_VERSIONS __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define KPTOOL_VERSIONS
#endif

#if defined(__GNUC__)
#define KPTOOL_INLINE inline __attribute__((always_inline))
#else
#define KPTOOL_INLINE inline
#endif
