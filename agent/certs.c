/*
 * `meridian certs DIR REGION[=NAME,...] ...`: the deployment's certificates.
 *
 * DIR/ca.key and DIR/ca.crt are made once and kept. Each REGION gets DIR/REGION/ with its own
 * key, its certificate (CN = the region's name, which is how agents, PostgreSQL streams and
 * edges recognise each other) and a copy of the CA's certificate. Names after "=" become
 * subject alternative names, addresses as such. A region that already has a certificate keeps
 * it unless --renew is given, so the command can be run again when a region is added.
 *
 * EC P-256 throughout: small, quick to sign, and known to every OpenSSL and PostgreSQL. Keys
 * are created with mode 0600 before a byte is written to them.
 */
#include <cli.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <mrd/topology.h>

#define CERT_PATH_MAX 1024
#define CA_DAYS 7300
#define NODE_DAYS 3650

struct identity {
    EVP_PKEY *key;
    X509 *cert;
};

static void identity_fini(struct identity *id)
{
    EVP_PKEY_free(id->key);
    X509_free(id->cert);
    id->key = NULL;
    id->cert = NULL;
}

static int complain(const char *what, const char *path)
{
    unsigned long e = ERR_get_error();
    char text[200] = "";
    if (e != 0) {
        ERR_error_string_n(e, text, sizeof(text));
    }
    fprintf(stderr, "meridian certs: could not %s \"%s\": %s\n", what, path,
            e != 0 ? text : strerror(errno));
    return -1;
}

static int path_join(char *out, const char *dir, const char *name)
{
    int n = snprintf(out, CERT_PATH_MAX, "%s/%s", dir, name);
    if (n < 0 || n >= CERT_PATH_MAX) {
        errno = ENAMETOOLONG;
        return complain("use", dir);
    }
    return 0;
}

static int add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    if (ext == NULL) {
        return -1;
    }
    int ok = X509_add_ext(cert, ext, -1);
    X509_EXTENSION_free(ext);
    return ok == 1 ? 0 : -1;
}

/* A serial nobody can guess, 159 bits and positive (RFC 5280, 4.1.2.2). */
static int set_serial(X509 *cert)
{
    uint8_t bytes[20];
    if (RAND_bytes(bytes, sizeof(bytes)) != 1) {
        return -1;
    }
    bytes[0] &= 0x7f;
    BIGNUM *bn = BN_bin2bn(bytes, sizeof(bytes), NULL);
    int ok = bn != NULL && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(cert)) != NULL;
    BN_free(bn);
    return ok ? 0 : -1;
}

/* Subject, dates and serial; the issuer is @ca's subject, or our own for the CA itself. */
static int fill_cert(X509 *cert, const struct identity *ca, EVP_PKEY *key, const char *cn,
                     long days)
{
    X509_NAME *name = X509_get_subject_name(cert);
    if (X509_set_version(cert, X509_VERSION_3) != 1 || set_serial(cert) != 0 ||
        /* Clocks differ a little between machines: valid since an hour ago. */
        X509_gmtime_adj(X509_getm_notBefore(cert), -3600) == NULL ||
        X509_gmtime_adj(X509_getm_notAfter(cert), days * 86400L) == NULL ||
        X509_set_pubkey(cert, key) != 1 ||
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1,
                                   0) != 1) {
        return -1;
    }
    return X509_set_issuer_name(cert, ca != NULL ? X509_get_subject_name(ca->cert) : name) == 1
               ? 0
               : -1;
}

static int make_ca(struct identity *ca)
{
    ca->key = EVP_EC_gen("P-256");
    ca->cert = X509_new();
    if (ca->key == NULL || ca->cert == NULL ||
        fill_cert(ca->cert, NULL, ca->key, "Meridian deployment CA", CA_DAYS) != 0 ||
        add_extension(ca->cert, ca->cert, NID_basic_constraints,
                      "critical,CA:TRUE,pathlen:0") ||
        add_extension(ca->cert, ca->cert, NID_key_usage, "critical,keyCertSign,cRLSign") ||
        add_extension(ca->cert, ca->cert, NID_subject_key_identifier, "hash") ||
        X509_sign(ca->cert, ca->key, EVP_sha256()) == 0) {
        return -1;
    }
    return 0;
}

/* "DNS:region,DNS:...,IP:..." from the region's name and the comma-separated @names. */
static int alt_names(char *out, size_t cap, const char *region, const char *names)
{
    size_t used = (size_t)snprintf(out, cap, "DNS:%s", region);
    while (names != NULL && *names != '\0') {
        char one[256];
        size_t len = strcspn(names, ",");
        uint8_t addr[16];
        if (len == 0 || len >= sizeof(one)) {
            return -1;
        }
        memcpy(one, names, len);
        one[len] = '\0';
        bool ip = inet_pton(AF_INET, one, addr) == 1 || inet_pton(AF_INET6, one, addr) == 1;
        int n = snprintf(out + used, cap - used, ",%s:%s", ip ? "IP" : "DNS", one);
        if (n < 0 || (size_t)n >= cap - used) {
            return -1;
        }
        used += (size_t)n;
        names += len + (names[len] == ',');
    }
    return 0;
}

static int make_node(struct identity *node, const struct identity *ca, const char *region,
                     const char *names)
{
    char alt[2048];
    if (alt_names(alt, sizeof(alt), region, names) != 0) {
        return -1;
    }
    node->key = EVP_EC_gen("P-256");
    node->cert = X509_new();
    if (node->key == NULL || node->cert == NULL ||
        fill_cert(node->cert, ca, node->key, region, NODE_DAYS) != 0 ||
        add_extension(node->cert, ca->cert, NID_basic_constraints, "critical,CA:FALSE") ||
        add_extension(node->cert, ca->cert, NID_key_usage, "critical,digitalSignature") ||
        /* Every region is server to some peers and client of others. */
        add_extension(node->cert, ca->cert, NID_ext_key_usage, "serverAuth,clientAuth") ||
        add_extension(node->cert, ca->cert, NID_subject_alt_name, alt) ||
        add_extension(node->cert, ca->cert, NID_subject_key_identifier, "hash") ||
        add_extension(node->cert, ca->cert, NID_authority_key_identifier, "keyid") ||
        X509_sign(node->cert, ca->key, EVP_sha256()) == 0) {
        return -1;
    }
    return 0;
}

/* Written under another name and renamed, so that a crash leaves no half of a key behind. */
static FILE *open_new(const char *path, mode_t mode, char *tmp)
{
    snprintf(tmp, CERT_PATH_MAX + 8, "%s.new", path);
    unlink(tmp);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    return fd < 0 ? NULL : fdopen(fd, "w");
}

static int write_pem(const char *path, const struct identity *id, bool key)
{
    char tmp[CERT_PATH_MAX + 8];
    FILE *f = open_new(path, key ? 0600 : 0644, tmp);
    if (f == NULL) {
        return complain("create", path);
    }
    int ok = key ? PEM_write_PrivateKey(f, id->key, NULL, NULL, 0, NULL, NULL)
                 : PEM_write_X509(f, id->cert);
    ok = ok == 1 && fflush(f) == 0 && fsync(fileno(f)) == 0;
    if (fclose(f) != 0 || !ok || rename(tmp, path) != 0) {
        complain("write", path);
        unlink(tmp);
        return -1;
    }
    return 0;
}

static int read_ca(struct identity *ca, const char *key_path, const char *crt_path)
{
    FILE *f = fopen(key_path, "r");
    if (f == NULL) {
        return complain("open", key_path);
    }
    ca->key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
    fclose(f);
    f = fopen(crt_path, "r");
    if (f == NULL) {
        return complain("open", crt_path);
    }
    ca->cert = PEM_read_X509(f, NULL, NULL, NULL);
    fclose(f);
    if (ca->key == NULL || ca->cert == NULL || X509_check_private_key(ca->cert, ca->key) != 1) {
        return complain("use the CA in", crt_path);
    }
    return 0;
}

static int open_ca(struct identity *ca, const char *dir)
{
    char key_path[CERT_PATH_MAX], crt_path[CERT_PATH_MAX];
    if (path_join(key_path, dir, "ca.key") != 0 || path_join(crt_path, dir, "ca.crt") != 0) {
        return -1;
    }
    if (access(key_path, F_OK) == 0) {
        return read_ca(ca, key_path, crt_path);
    }
    if (make_ca(ca) != 0) {
        return complain("make a CA in", dir);
    }
    /* The key last: a CA counts as made once its key is there. */
    return write_pem(crt_path, ca, false) != 0 || write_pem(key_path, ca, true) != 0 ? -1 : 0;
}

static bool name_ok(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len < MRD_NAME_MAX && name[0] != '.' && name[0] != '-' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
               len;
}

static int write_node(const char *dir, const struct identity *ca, const char *region,
                      const char *names, bool renew)
{
    char sub[CERT_PATH_MAX], ca_path[CERT_PATH_MAX], crt[CERT_PATH_MAX], key[CERT_PATH_MAX];
    struct identity node = {NULL, NULL};
    int ret = -1;

    if (path_join(sub, dir, region) != 0 || path_join(ca_path, sub, "ca.crt") != 0 ||
        path_join(crt, sub, "node.crt") != 0 || path_join(key, sub, "node.key") != 0) {
        return -1;
    }
    if (mkdir(sub, 0700) != 0 && errno != EEXIST) {
        return complain("create directory", sub);
    }
    if (!renew && access(crt, F_OK) == 0) {
        printf("kept %s\n", sub);
        return 0;
    }
    if (make_node(&node, ca, region, names) != 0) {
        complain("make a certificate for", region);
        goto out;
    }
    /* The certificate last: it is what says that the region is complete. */
    if (write_pem(ca_path, ca, false) != 0 || write_pem(key, &node, true) != 0 ||
        write_pem(crt, &node, false) != 0) {
        goto out;
    }
    printf("made %s\n", sub);
    ret = 0;
out:
    identity_fini(&node);
    return ret;
}

static int usage(FILE *out)
{
    fprintf(out, "usage: meridian certs [--renew] DIR REGION[=NAME,...] ...\n"
                 "Make a CA in DIR (once) and DIR/REGION/{ca.crt,node.crt,node.key}.\n"
                 "  --renew  new certificates and keys for the named regions, same CA\n");
    return out == stdout ? 0 : 2;
}

int cli_certs(int argc, char **argv)
{
    struct identity ca = {NULL, NULL};
    int at = 1, status = 1;
    bool renew = false;

    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        return usage(stdout);
    }
    if (at < argc && strcmp(argv[at], "--renew") == 0) {
        renew = true;
        at++;
    }
    if (argc - at < 2 || argv[at][0] == '-') {
        fprintf(stderr, "meridian: %s\n",
                at < argc && argv[at][0] == '-' ? "no such option"
                : at < argc                     ? "certificates for which regions?"
                                                : "in which directory?");
        return usage(stderr);
    }
    const char *dir = argv[at++];
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        complain("create directory", dir);
        return 1;
    }
    if (open_ca(&ca, dir) != 0) {
        goto out;
    }
    for (; at < argc; at++) {
        char region[MRD_NAME_MAX + 1];
        size_t len = strcspn(argv[at], "=");
        snprintf(region, sizeof(region), "%.*s", (int)(len < MRD_NAME_MAX ? len : MRD_NAME_MAX),
                 argv[at]);
        if (len >= MRD_NAME_MAX || !name_ok(region)) {
            fprintf(stderr,
                    "meridian certs: \"%s\" cannot be a region's name; use letters, "
                    "digits, \"-\", \"_\" and \".\"\n",
                    argv[at]);
            status = 2;
            goto out;
        }
        const char *names = argv[at][len] == '=' ? argv[at] + len + 1 : NULL;
        if (write_node(dir, &ca, region, names, renew) != 0) {
            goto out;
        }
    }
    status = 0;
out:
    identity_fini(&ca);
    return status;
}
