/*
 * Names and texts of the error map, and the panic hook (mrd/err.h).
 */
#include <mrd/err.h>

#include <stdio.h>
#include <stdlib.h>

const char *mrd_strerror(int code)
{
    switch (code) {
    case MRD_OK:
        return "success";
#define MRD_ERR_TEXT(name, number, text)                                                       \
    case MRD_##name:                                                                           \
        return text;
        MRD_ERR_MAP(MRD_ERR_TEXT)
#undef MRD_ERR_TEXT
    default:
        return "unknown error";
    }
}

int mrd_err_set(struct mrd_err *err, int code, const char *fmt, ...)
{
    if (err != NULL) {
        va_list ap;
        err->code = code;
        err->hint[0] = '\0';
        va_start(ap, fmt);
        vsnprintf(err->text, sizeof(err->text), fmt, ap);
        va_end(ap);
    }
    return code;
}

void mrd_err_hint(struct mrd_err *err, const char *fmt, ...)
{
    if (err != NULL) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(err->hint, sizeof(err->hint), fmt, ap);
        va_end(ap);
    }
}

static mrd_panic_fn panic_fn;

void mrd_panic_set(mrd_panic_fn fn)
{
    panic_fn = fn;
}

void mrd_panic(const char *expr, const char *file, int line)
{
    if (panic_fn != NULL) {
        panic_fn(expr, file, line);
    }
    fprintf(stderr, "broken invariant: %s at %s:%d\n", expr, file, line);
    abort();
}
