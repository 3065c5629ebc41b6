/*
 * peers.c - other implementations behind one small ABI, for the benchmarks to measure beside ours in the same run.
 *
 * Built into a shared library by build.sh with what the machine has: OpenSSL (-DHAVE_OPENSSL), Intel ipsec-mb
 * (-DHAVE_IPSEC_MB). Every function returns 0 when it did the work and 1 when this build cannot.
 * Keys and IVs are fixed where they do not matter: nothing here protects anything.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef HAVE_OPENSSL
#include <openssl/evp.h>

static const EVP_CIPHER *cipher(int mode, int bits)
{
    switch (mode * 1000 + bits) {
    case 128: return EVP_aes_128_ctr();
    case 192: return EVP_aes_192_ctr();
    case 256: return EVP_aes_256_ctr();
    case 1128: return EVP_aes_128_gcm();
    case 1192: return EVP_aes_192_gcm();
    case 1256: return EVP_aes_256_gcm();
    case 2128: return EVP_aes_128_cbc();
    case 2192: return EVP_aes_192_cbc();
    default: return EVP_aes_256_cbc();
    }
}

/* mode: 0 ctr, 1 gcm, 2 cbc. In place; the tag is made and dropped. */
int peer_openssl(int mode, int bits, int encrypt, const uint8_t *key, const uint8_t *iv, uint8_t *data, size_t bytes)
{
    static EVP_CIPHER_CTX *ctx;
    uint8_t tag[16];
    int done, fail;
    if (!ctx)
        ctx = EVP_CIPHER_CTX_new();
    fail = !EVP_CipherInit_ex(ctx, cipher(mode, bits), NULL, key, iv, encrypt);
    EVP_CIPHER_CTX_set_padding(ctx, 0);
    fail |= !EVP_CipherUpdate(ctx, data, &done, data, (int)bytes);
    if (encrypt || mode != 1)
        fail |= !EVP_CipherFinal_ex(ctx, tag, &done);
    if (mode == 1 && encrypt)
        fail |= !EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, 16, tag);
    return fail;
}
#else
int peer_openssl(int mode, int bits, int encrypt, const uint8_t *key, const uint8_t *iv, uint8_t *data, size_t bytes)
{
    return 1;
}
#endif

#ifdef HAVE_IPSEC_MB
#include <intel-ipsec-mb.h>

static IMB_MGR *mgr;
static struct gcm_key_data gcm_key;
static uint32_t enc_keys[15 * 4] __attribute__((aligned(64))), dec_keys[15 * 4] __attribute__((aligned(64)));
static int key_bits;

/* Expands the key that the next calls use. */
int peer_ipsec_key(int bits, const uint8_t *key)
{
    if (!mgr) {
        mgr = alloc_mb_mgr(0);
        if (!mgr)
            return 1;
        init_mb_mgr_auto(mgr, NULL);
    }
    key_bits = bits;
    switch (bits) {
    case 128:
        IMB_AES_KEYEXP_128(mgr, key, enc_keys, dec_keys);
        IMB_AES128_GCM_PRE(mgr, key, &gcm_key);
        break;
    case 192:
        IMB_AES_KEYEXP_192(mgr, key, enc_keys, dec_keys);
        IMB_AES192_GCM_PRE(mgr, key, &gcm_key);
        break;
    default:
        IMB_AES_KEYEXP_256(mgr, key, enc_keys, dec_keys);
        IMB_AES256_GCM_PRE(mgr, key, &gcm_key);
    }
    return 0;
}

static void fill(IMB_JOB *job, IMB_CIPHER_MODE mode, int encrypt, const uint8_t *iv, uint8_t *data, size_t bytes)
{
    memset(job, 0, sizeof(*job));
    job->cipher_mode = mode;
    job->cipher_direction = encrypt ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
    job->chain_order = IMB_ORDER_CIPHER_HASH;
    job->hash_alg = IMB_AUTH_NULL;
    job->enc_keys = enc_keys;
    job->dec_keys = dec_keys;
    job->key_len_in_bytes = key_bits / 8;
    job->src = data;
    job->dst = data;
    job->msg_len_to_cipher_in_bytes = bytes;
    job->iv = iv;
    job->iv_len_in_bytes = 16;
}

static int one(IMB_CIPHER_MODE mode, int encrypt, const uint8_t *iv, uint8_t *data, size_t bytes)
{
    IMB_JOB *job = IMB_GET_NEXT_JOB(mgr);
    fill(job, mode, encrypt, iv, data, bytes);
    job = IMB_SUBMIT_JOB(mgr);
    if (!job)
        job = IMB_FLUSH_JOB(mgr);
    return !job || job->status != IMB_STATUS_COMPLETED;
}

int peer_ipsec_ctr(const uint8_t *iv, uint8_t *data, size_t bytes)
{
    return one(IMB_CIPHER_CNTR, 1, iv, data, bytes);
}

int peer_ipsec_cbc_decrypt(const uint8_t *iv, uint8_t *data, size_t bytes)
{
    return one(IMB_CIPHER_CBC, 0, iv, data, bytes);
}

int peer_ipsec_gcm(int encrypt, const uint8_t *iv, uint8_t *data, size_t bytes)
{
    struct gcm_context_data ctx;
    uint8_t tag[16];
    switch (key_bits * 2 + encrypt) {
    case 256: IMB_AES128_GCM_DEC(mgr, &gcm_key, &ctx, data, data, bytes, iv, NULL, 0, tag, 16); break;
    case 257: IMB_AES128_GCM_ENC(mgr, &gcm_key, &ctx, data, data, bytes, iv, NULL, 0, tag, 16); break;
    case 384: IMB_AES192_GCM_DEC(mgr, &gcm_key, &ctx, data, data, bytes, iv, NULL, 0, tag, 16); break;
    case 385: IMB_AES192_GCM_ENC(mgr, &gcm_key, &ctx, data, data, bytes, iv, NULL, 0, tag, 16); break;
    case 512: IMB_AES256_GCM_DEC(mgr, &gcm_key, &ctx, data, data, bytes, iv, NULL, 0, tag, 16); break;
    default: IMB_AES256_GCM_ENC(mgr, &gcm_key, &ctx, data, data, bytes, iv, NULL, 0, tag, 16);
    }
    return 0;
}

/* Encrypts `count` streams in place. Its lengths end at 64 KiB: longer streams go in rounds of 32 KiB. */
int peer_ipsec_cbc_streams(uint8_t *const *data, size_t count, size_t bytes)
{
    static uint8_t chains[256][16];
    size_t done, index;
    if (count > 256)
        return 1;
    memset(chains, 7, sizeof(chains));
    for (done = 0; done < bytes; done += 32768) {
        size_t step = bytes - done < 32768 ? bytes - done : 32768;
        for (index = 0; index < count; index++) {
            IMB_JOB *job = IMB_GET_NEXT_JOB(mgr);
            fill(job, IMB_CIPHER_CBC, 1, chains[index], data[index] + done, step);
            IMB_SUBMIT_JOB(mgr);
        }
        while (IMB_FLUSH_JOB(mgr))
            ;
        for (index = 0; index < count; index++)
            memcpy(chains[index], data[index] + done + step - 16, 16);
    }
    return 0;
}
#else
int peer_ipsec_key(int bits, const uint8_t *key) { return 1; }
int peer_ipsec_ctr(const uint8_t *iv, uint8_t *data, size_t bytes) { return 1; }
int peer_ipsec_cbc_decrypt(const uint8_t *iv, uint8_t *data, size_t bytes) { return 1; }
int peer_ipsec_gcm(int encrypt, const uint8_t *iv, uint8_t *data, size_t bytes) { return 1; }
int peer_ipsec_cbc_streams(uint8_t *const *data, size_t count, size_t bytes) { return 1; }
#endif
