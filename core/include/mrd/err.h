/*
 * Errors of core: one map from which codes, names and texts are made.
 *
 * Functions that can fail return 0 or a negative code and leave their outputs as they were.
 * Where a person will read the result the last parameter is a struct mrd_err, which may be
 * NULL. Refusals are not errors: they are values (see verdict.h).
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>

/* X(name, number, text) */
#define MRD_ERR_MAP(X)                                                                         \
    X(EINVAL, 1, "invalid argument")                                                           \
    X(ENOMEM, 2, "out of memory")                                                              \
    X(ESHORT, 3, "the data ends too early")                                                    \
    X(EFORMAT, 4, "the data is malformed")                                                     \
    X(EVERSION, 5, "the data has another version of the format")                               \
    X(ECHECKSUM, 6, "the checksum does not match")                                             \
    X(EFULL, 7, "a table is full")                                                             \
    X(ENOTFOUND, 8, "no such entry")                                                           \
    X(ECONFLICT, 9, "somebody else changed it first")                                          \
    X(ETOOBIG, 10, "larger than its limit")                                                    \
    X(ESTALE, 11, "older than what is already known")                                          \
    X(EAUTH, 12, "the signature does not match")                                               \
    X(EIO, 13, "an input/output operation failed")                                             \
    X(ETIMEDOUT, 14, "it took too long")                                                       \
    X(EUNAVAILABLE, 15, "not available now")                                                   \
    X(ECONFIG, 16, "the configuration is not valid")

enum mrd_error {
    MRD_OK = 0,
#define MRD_ERR_ENUM(name, number, text) MRD_##name = -(number),
    MRD_ERR_MAP(MRD_ERR_ENUM)
#undef MRD_ERR_ENUM
};

/** What went wrong, for a person: code, the reason as text, and what to do next. */
struct mrd_err {
    int code;
    char text[512];
    char hint[256];
};

/** The text of @code, or "unknown error"; never NULL. */
const char *mrd_strerror(int code);

/** Fill @err (which may be NULL) and return @code. The text is formatted like printf. */
int mrd_err_set(struct mrd_err *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/** Set the hint of @err (which may be NULL), a full sentence. */
void mrd_err_hint(struct mrd_err *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/**
 * A broken invariant: our own mistake, never input, network or disk. On in every build. The
 * host may install its own reaction, which must not return; the default prints and aborts.
 */
typedef void (*mrd_panic_fn)(const char *expr, const char *file, int line);
void mrd_panic_set(mrd_panic_fn fn);
void mrd_panic(const char *expr, const char *file, int line) __attribute__((noreturn));
#define mrd_assert(expr) ((expr) ? (void)0 : mrd_panic(#expr, __FILE__, __LINE__))
