/*
 * The tables of virgl_format.h. Formats have the numbers of virgl's protocol; what has
 * planes, or means different things to different drivers, is left out.
 *
 * SPDX-License-Identifier: MIT
 */
#include "virgl_format.h"

#include <stddef.h>

/* Four in a row: R, RG, RGB and RGBA. */
#define RGBA(n, b) [n] = b, [(n) + 1] = 2 * (b), [(n) + 2] = 3 * (b), \
                   [(n) + 3] = 4 * (b)

/* Bytes of a block. */
static const uint8_t bytes[] = {
    [1 ... 4] = 4, [5 ... 7] = 2, [8] = 4, [9 ... 11] = 1, [12 ... 13] = 2,
    [14 ... 15] = 4,                               /* UYVY, YUYV */
    [16] = 2, [17 ... 22] = 4, [23] = 1,           /* depth and stencil */
    RGBA(24, 8),                                   /* 64 bits each */
    RGBA(28, 4), RGBA(32, 4), RGBA(36, 4), RGBA(40, 4), RGBA(44, 4),
    RGBA(48, 2), RGBA(52, 2), RGBA(56, 2), RGBA(60, 2),
    RGBA(64, 1), [68] = 4, RGBA(69, 1), RGBA(74, 1), RGBA(82, 1),
    RGBA(87, 4), RGBA(91, 2),                      /* fixed point, half floats */
    [95] = 1, [96] = 2, [97] = 3, [98 ... 104] = 4, /* sRGB */
    [105 ... 106] = 8, [107 ... 108] = 16, [109 ... 110] = 8,
    [111 ... 112] = 16,                            /* DXT */
    [113 ... 114] = 8, [115 ... 116] = 16,         /* RGTC */
    [117 ... 119] = 4, [120] = 2, [121] = 4, [122] = 2, [123 ... 125] = 4,
    [126] = 8, [128 ... 129] = 4, [130] = 1, [131 ... 132] = 4, [133] = 2,
    [134] = 4, [135] = 2, [136 ... 137] = 4, [138] = 8, [139] = 1,
    [140] = 4, [141 ... 142] = 2,
    [143 ... 144] = 8, [145 ... 146] = 16,         /* LATC */
    [147 ... 148] = 1, [149] = 2, [150] = 1, [151 ... 152] = 2, [153] = 4,
    [154 ... 156] = 2, [157] = 4, [158] = 2, [159 ... 160] = 4, [161] = 8,
    [162] = 4, [168 ... 169] = 1, [170 ... 171] = 2, [172 ... 176] = 4,
    RGBA(177, 1), RGBA(181, 1), RGBA(185, 2), RGBA(189, 2), RGBA(193, 4),
    RGBA(197, 4),                                  /* integers */
    [201 ... 203] = 1, [204] = 2, [205 ... 207] = 1, [208] = 2,
    [209 ... 211] = 2, [212] = 4, [213 ... 215] = 2, [216] = 4,
    [217 ... 219] = 4, [220] = 8, [221 ... 223] = 4, [224] = 8, [225] = 4,
    [226] = 8,                                     /* ETC1 */
    [227 ... 233] = 4, [234 ... 238] = 8, [239 ... 241] = 16, [242] = 2,
    [243 ... 245] = 4, [246] = 8, [247 ... 248] = 2, [249 ... 250] = 4,
    [251 ... 252] = 8, [253] = 4, [254] = 2,
    [255 ... 258] = 16,                            /* BPTC */
    [259 ... 261] = 2, [267 ... 268] = 4,
    [269 ... 272] = 8, [273 ... 274] = 16, [275 ... 276] = 8,
    [277 ... 278] = 16,                            /* ETC2 */
    [279 ... 306] = 16,                            /* ASTC */
    [308] = 4, [311] = 2, [312] = 1, [313] = 2,
};

/* Where a block is more than a pixel. */
static const struct {
    uint16_t first, last;
    uint8_t w, h;
} shapes[] = {
    { 14, 15, 2, 1 }, { 105, 116, 4, 4 }, { 117, 118, 2, 1 },
    { 143, 146, 4, 4 }, { 226, 226, 4, 4 }, { 227, 228, 2, 1 },
    { 255, 258, 4, 4 }, { 269, 278, 4, 4 },
};

#define ASTC      279
#define ASTC_LAST 306

static const uint8_t astc[14][2] = { /* once more for sRGB */
    { 4, 4 }, { 5, 4 }, { 5, 5 }, { 6, 5 }, { 6, 6 }, { 8, 5 }, { 8, 6 },
    { 8, 8 }, { 10, 5 }, { 10, 6 }, { 10, 8 }, { 10, 10 }, { 12, 10 },
    { 12, 12 },
};

struct virgl_block virgl_format_block(uint32_t format)
{
    struct virgl_block block = { 1, 1, 0 };

    if (format < sizeof(bytes)) {
        block.bytes = bytes[format];
    }
    if (format >= ASTC && format <= ASTC_LAST) {
        block.w = astc[(format - ASTC) % 14][0];
        block.h = astc[(format - ASTC) % 14][1];
    }
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        if (format >= shapes[i].first && format <= shapes[i].last) {
            block.w = shapes[i].w;
            block.h = shapes[i].h;
        }
    }
    return block;
}
