/* ffmpeg's program_opencl: what a user writes. SPDX-License-Identifier: MIT */
__constant sampler_t nearest = CLK_NORMALIZED_COORDS_FALSE | CLK_FILTER_NEAREST;

kernel void invert(write_only image2d_t out, unsigned int index,
                   read_only image2d_t in)
{
    int2 at = (int2)(get_global_id(0), get_global_id(1));
    float4 pixel = read_imagef(in, nearest, at);

    write_imagef(out, at, (float4)(1.0f - pixel.xyz, pixel.w));
}
