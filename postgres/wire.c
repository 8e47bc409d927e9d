/*-------------------------------------------------------------------------
 *
 * wire.c
 *	  Frames of the stream between regions.
 *
 * Frames are compressed with one zstd context for the life of the stream, so
 * that the hundredth INSERT into a table costs a few bytes of what it repeats.
 * Each frame ends with a flush and can be decoded when it has arrived.  What a
 * frame may grow to is bounded before memory is taken for it.
 *
 * What a frame holds is read in wire_read.c and written in wire_write.c.
 *
 *-------------------------------------------------------------------------
 */
#include "wire.h"

#include <zstd.h>

#include <mrd/err.h>

#define FRAME_PLAIN 0
#define FRAME_ZSTD 1

/* ---------------------------------------------------------------------
 * the growing buffer
 * ---------------------------------------------------------------------
 */

static bool
out_reserve(MeridianWireOut *out, size_t more)
{
	if (out->failed)
		return false;
	if (more > MERIDIAN_WIRE_FRAME_MAX || out->len > MERIDIAN_WIRE_FRAME_MAX - more)
	{
		out->failed = true;
		return false;
	}
	if (out->len + more > out->cap && !out->grow(out, out->len + more))
	{
		out->failed = true;
		return false;
	}
	return true;
}

struct mrd_buf
meridian_wire_out_begin(MeridianWireOut *out, size_t room)
{
	/* For nothing there may be no memory yet, and NULL + 0 is undefined in C. */
	if (!out_reserve(out, room) || room == 0)
		return mrd_buf_writer(NULL, 0);
	return mrd_buf_writer(out->data + out->len, room);
}

void
meridian_wire_out_end(MeridianWireOut *out, const struct mrd_buf *b)
{
	if (out->failed)
		return;
	if (b->failed)
		out->failed = true;
	else
		out->len += b->pos;
}

/* ---------------------------------------------------------------------
 * frames
 * ---------------------------------------------------------------------
 */

struct ZSTD_CCtx_s *
meridian_wire_compressor(void)
{
	ZSTD_CCtx  *ctx = ZSTD_createCCtx();

	if (ctx == NULL)
		return NULL;
	if (ZSTD_isError(ZSTD_CCtx_setParameter(ctx, ZSTD_c_compressionLevel, 1)) ||
		ZSTD_isError(ZSTD_CCtx_setParameter(ctx, ZSTD_c_windowLog, MERIDIAN_WIRE_WINDOW_LOG)))
	{
		ZSTD_freeCCtx(ctx);
		return NULL;
	}
	return ctx;
}

struct ZSTD_DCtx_s *
meridian_wire_decompressor(void)
{
	ZSTD_DCtx  *ctx = ZSTD_createDCtx();

	if (ctx != NULL &&
		ZSTD_isError(ZSTD_DCtx_setParameter(ctx, ZSTD_d_windowLogMax, MERIDIAN_WIRE_WINDOW_LOG)))
	{
		ZSTD_freeDCtx(ctx);
		return NULL;
	}
	return ctx;
}

void
meridian_wire_compressor_free(struct ZSTD_CCtx_s *ctx)
{
	ZSTD_freeCCtx(ctx);
}

void
meridian_wire_decompressor_free(struct ZSTD_DCtx_s *ctx)
{
	ZSTD_freeDCtx(ctx);
}

static int
pack_zstd(ZSTD_CCtx *ctx, const MeridianWireOut *content, MeridianWireOut *frame)
{
	ZSTD_inBuffer in = {content->data, content->len, 0};
	size_t		left;

	do
	{
		ZSTD_outBuffer out;

		/* compressed content may be a little larger than the content */
		if (!out_reserve(frame, content->len - in.pos + content->len / 128 + 1024))
			return MRD_ETOOBIG;
		out.dst = frame->data + frame->len;
		out.size = frame->cap - frame->len;
		out.pos = 0;
		left = ZSTD_compressStream2(ctx, &out, &in, ZSTD_e_flush);
		if (ZSTD_isError(left))
			return MRD_EFORMAT;
		frame->len += out.pos;
	} while (left > 0);
	return MRD_OK;
}

int
meridian_wire_pack(struct ZSTD_CCtx_s *ctx, const MeridianWireOut *content, MeridianWireOut *frame)
{
	struct mrd_buf b;

	if (content->failed)
		return MRD_ETOOBIG;
	b = meridian_wire_out_begin(frame, 1 + (ctx == NULL ? content->len : 0));
	mrd_buf_put_u8(&b, ctx == NULL ? FRAME_PLAIN : FRAME_ZSTD);
	if (ctx == NULL)
		mrd_buf_put_bytes(&b, content->data, content->len);
	meridian_wire_out_end(frame, &b);
	if (frame->failed)
		return MRD_ETOOBIG;
	return ctx == NULL ? MRD_OK : pack_zstd(ctx, content, frame);
}

static int
unpack_zstd(ZSTD_DCtx *ctx, const uint8_t *data, size_t len, MeridianWireOut *content)
{
	ZSTD_inBuffer in = {data, len, 0};

	for (;;)
	{
		ZSTD_outBuffer out;
		size_t		ret;

		if (!out_reserve(content, ZSTD_BLOCKSIZE_MAX))
			return MRD_ETOOBIG;
		out.dst = content->data + content->len;
		out.size = content->cap - content->len;
		if (out.size > MERIDIAN_WIRE_FRAME_MAX - content->len)
			out.size = MERIDIAN_WIRE_FRAME_MAX - content->len;
		out.pos = 0;
		ret = ZSTD_decompressStream(ctx, &out, &in);
		if (ZSTD_isError(ret) || ret == 0)
			return MRD_EFORMAT; /* the stream's one zstd frame never ends */
		content->len += out.pos;
		if (in.pos == in.size && out.pos < out.size)
			return content->len > 0 ? MRD_OK : MRD_ESHORT;	/* it waits for bytes that were to be here */
	}
}

int
meridian_wire_unpack(struct ZSTD_DCtx_s *ctx, const void *frame, size_t len,
					 MeridianWireOut *content)
{
	const uint8_t *data = frame;
	struct mrd_buf b;

	if (len < 1)
		return MRD_ESHORT;
	if (data[0] == FRAME_ZSTD)
		return ctx == NULL ? MRD_EFORMAT : unpack_zstd(ctx, data + 1, len - 1, content);
	if (data[0] != FRAME_PLAIN)
		return MRD_EVERSION;
	b = meridian_wire_out_begin(content, len - 1);
	mrd_buf_put_bytes(&b, data + 1, len - 1);
	meridian_wire_out_end(content, &b);
	return content->failed ? MRD_ETOOBIG : MRD_OK;
}
