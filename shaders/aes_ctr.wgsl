// AES-128, AES-192 and AES-256 in counter mode, many keys in one dispatch.
//
// Fixsliced: two blocks as eight words of one bit per byte, the S-box a circuit, ShiftRows left out
// and made up for in MixColumns and in the round keys. After Adomnicai and Peyrin, "Fixslicing
// AES-like ciphers" (ePrint 2020/1123), by way of the `aes` crate of the RustCrypto project (MIT or
// Apache-2.0); the S-box is the circuit of Boyar, Peralta and Calik. No table, and no branch or
// address depends on a key or on data: the time depends on lengths alone.
//
// The host's side is src/engine/gpu/tile.rs (tiles) and crates/cipher/src/fixsliced.rs (round keys); see README.md
// beside this file.

// 10, 12 or 14: for keys of 128, 192 or 256 bits. All keys of a dispatch have one size.
override ROUNDS: u32 = 14u;

// Threads of a workgroup. Each takes two blocks of a step, this far apart, so that a warp reads and
// writes whole lines.
const THREADS: u32 = 64u;
const STEP_BLOCKS: u32 = 2u * THREADS;
const TILE_BLOCKS: u32 = 8u * STEP_BLOCKS;

// A run of blocks under one key: what one workgroup does.
struct Tile {
    // The first counter block, most significant word first.
    counter: vec4<u32>,
    // Its first block in `source` and `destination`.
    first: u32,
    // How many, at most TILE_BLOCKS. None: the tile only fills the grid.
    blocks: u32,
    // The key's index.
    key: u32,
    // How many low bits of the counter block count: 128, 64 or 32. Those above stay.
    width: u32,
}

@group(0) @binding(0) var<storage, read> tiles: array<Tile>;
// Round keys in the form of `State`, 2 * (ROUNDS + 1) vectors for each key.
@group(0) @binding(1) var<storage, read> keys: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> source: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> destination: array<vec4<u32>>;

// Two blocks. Word i (lo.x is 0, hi.w is 7) has bit i of all 32 bytes; in a word, from the high
// bits to the low: two bits of row, two of column, one of block.
struct State {
    lo: vec4<u32>,
    hi: vec4<u32>,
}

// Two blocks as they lie in memory: each vector is a block, each word a column.
struct Blocks {
    a: vec4<u32>,
    b: vec4<u32>,
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = group.x + group.y * groups.x;
    if index >= arrayLength(&tiles) {
        return;
    }
    let tile = tiles[index];
    let blocks = min(tile.blocks, TILE_BLOCKS);
    let key = tile.key * (2u * (ROUNDS + 1u));
    for (var block = thread; block < blocks; block += STEP_BLOCKS) {
        let second = block + THREADS;
        let stream = encrypt(key, Blocks(
            counter_block(tile.counter, tile.width, block),
            counter_block(tile.counter, tile.width, second),
        ));
        destination[tile.first + block] = source[tile.first + block] ^ stream.a;
        if second < blocks {
            destination[tile.first + second] = source[tile.first + second] ^ stream.b;
        }
    }
}

// The counter block `add` after the first, as it lies in memory.
fn counter_block(first: vec4<u32>, width: u32, add: u32) -> vec4<u32> {
    let w = first.w + add;
    let carry_w = select(0u, 1u, (w < add) & (width > 32u));
    let z = first.z + carry_w;
    let carry_z = select(0u, 1u, (z < carry_w) & (width > 64u));
    let y = first.y + carry_z;
    let carry_y = select(0u, 1u, y < carry_z);
    let sum = vec4(first.x + carry_y, y, z, w);
    return (ror(sum, 24u) & vec4(0x00ff00ffu)) | (ror(sum, 8u) & vec4(0xff00ff00u));
}

fn encrypt(key: u32, blocks: Blocks) -> Blocks {
    var s = add_round_key(bitslice(blocks), key);
    var k = key + 2u;
    for (var group = 0u; group < (ROUNDS - 1u) / 4u; group++) {
        s = add_round_key(mix_columns_1(sub_bytes(s)), k);
        s = add_round_key(mix_columns_2(sub_bytes(s)), k + 2u);
        s = add_round_key(mix_columns_3(sub_bytes(s)), k + 4u);
        s = add_round_key(mix_columns_0(sub_bytes(s)), k + 6u);
        k += 8u;
    }
    s = add_round_key(mix_columns_1(sub_bytes(s)), k);
    if ROUNDS == 12u {
        s = add_round_key(mix_columns_2(sub_bytes(s)), k + 2u);
        s = add_round_key(mix_columns_3(sub_bytes(s)), k + 4u);
        k += 4u;
    } else {
        // The rows are half way round here.
        s = State(shift_rows_2(s.lo), shift_rows_2(s.hi));
    }
    s = add_round_key(sub_bytes(s), k + 2u);
    return unbitslice(s);
}

fn add_round_key(s: State, key: u32) -> State {
    return State(s.lo ^ keys[key], s.hi ^ keys[key + 1u]);
}

// All words `n` bits to the right, 0 < n < 32. A row is 8 bits of a word, a column 2.
fn ror(x: vec4<u32>, n: u32) -> vec4<u32> {
    return (x >> vec4(n)) | (x << vec4(32u - n));
}

// MixColumns for a state whose rows lag by 0, 1, 2 or 3 ShiftRows: what differs is in which columns
// the row below and the row two below have their bytes.

fn mix_columns_0(s: State) -> State {
    let below = State(ror(s.lo, 8u), ror(s.hi, 8u));
    let sum = State(s.lo ^ below.lo, s.hi ^ below.hi);
    return mix(below, sum, State(two_below_0(sum.lo), two_below_0(sum.hi)));
}

fn mix_columns_1(s: State) -> State {
    let below = State(below_1(s.lo), below_1(s.hi));
    let sum = State(s.lo ^ below.lo, s.hi ^ below.hi);
    return mix(below, sum, State(two_below_1(sum.lo), two_below_1(sum.hi)));
}

fn mix_columns_2(s: State) -> State {
    let below = State(below_2(s.lo), below_2(s.hi));
    let sum = State(s.lo ^ below.lo, s.hi ^ below.hi);
    return mix(below, sum, State(two_below_0(sum.lo), two_below_0(sum.hi)));
}

fn mix_columns_3(s: State) -> State {
    let below = State(below_3(s.lo), below_3(s.hi));
    let sum = State(s.lo ^ below.lo, s.hi ^ below.hi);
    return mix(below, sum, State(two_below_1(sum.lo), two_below_1(sum.hi)));
}

fn below_1(x: vec4<u32>) -> vec4<u32> {
    return (ror(x, 10u) & vec4(0x3f3f3f3fu)) | (ror(x, 2u) & vec4(0xc0c0c0c0u));
}

fn below_2(x: vec4<u32>) -> vec4<u32> {
    return (ror(x, 12u) & vec4(0x0f0f0f0fu)) | (ror(x, 4u) & vec4(0xf0f0f0f0u));
}

fn below_3(x: vec4<u32>) -> vec4<u32> {
    return (ror(x, 14u) & vec4(0x03030303u)) | (ror(x, 6u) & vec4(0xfcfcfcfcu));
}

// After an even number of ShiftRows.
fn two_below_0(x: vec4<u32>) -> vec4<u32> {
    return ror(x, 16u);
}

// After an odd number of ShiftRows.
fn two_below_1(x: vec4<u32>) -> vec4<u32> {
    return (ror(x, 20u) & vec4(0x0f0f0f0fu)) | (ror(x, 12u) & vec4(0xf0f0f0f0u));
}

// With bytes a, b, c and d from a row on down, the new byte is b + 2 (a + b) + (c + d): the last
// term is the sum of a and b two rows below.
fn mix(below: State, sum: State, sum_two_below: State) -> State {
    let high = sum.hi.w;
    let twice_lo = vec4(high, sum.lo.x ^ high, sum.lo.y, sum.lo.z ^ high);
    let twice_hi = vec4(sum.lo.w ^ high, sum.hi.x, sum.hi.y, sum.hi.z);
    return State(
        below.lo ^ twice_lo ^ sum_two_below.lo,
        below.hi ^ twice_hi ^ sum_two_below.hi,
    );
}

// ShiftRows twice: in rows 1 and 3, columns 0 and 1 change places with 2 and 3.
fn shift_rows_2(x: vec4<u32>) -> vec4<u32> {
    let t = (x ^ (x >> vec4(4u))) & vec4(0x0f000f00u);
    return x ^ t ^ (t << vec4(4u));
}

// Swaps the bits of `b` that `mask` has with those of `a`, `shift` higher.
fn swap(a: vec4<u32>, b: vec4<u32>, shift: u32, mask: u32) -> Blocks {
    let t = ((a >> vec4(shift)) ^ b) & vec4(mask);
    return Blocks(a ^ (t << vec4(shift)), b ^ t);
}

// A transposition in three steps, each of which swaps one bit of the word's number with one of the
// bit's: bit of the byte against block and column.
fn bitslice(blocks: Blocks) -> State {
    let s = swap(blocks.a, blocks.b, 1u, 0x55555555u);
    let t = swap(
        vec4(s.a.x, s.b.x, s.a.z, s.b.z),
        vec4(s.a.y, s.b.y, s.a.w, s.b.w),
        2u,
        0x33333333u,
    );
    let u = swap(vec4(t.a.xy, t.b.xy), vec4(t.a.zw, t.b.zw), 4u, 0x0f0f0f0fu);
    return State(u.a, u.b);
}

// The same steps the other way round.
fn unbitslice(state: State) -> Blocks {
    let u = swap(state.lo, state.hi, 4u, 0x0f0f0f0fu);
    let t = swap(vec4(u.a.xy, u.b.xy), vec4(u.a.zw, u.b.zw), 2u, 0x33333333u);
    return swap(
        vec4(t.a.x, t.b.x, t.a.z, t.b.z),
        vec4(t.a.y, t.b.y, t.a.w, t.b.w),
        1u,
        0x55555555u,
    );
}

// SubBytes without its four NOTs, which are in the round keys. The names are those of the circuit's
// publication, the order is the `aes` crate's.
fn sub_bytes(s: State) -> State {
    let u7 = s.lo.x;
    let u6 = s.lo.y;
    let u5 = s.lo.z;
    let u4 = s.lo.w;
    let u3 = s.hi.x;
    let u2 = s.hi.y;
    let u1 = s.hi.z;
    let u0 = s.hi.w;
    let y14 = u3 ^ u5;
    let y13 = u0 ^ u6;
    let y12 = y13 ^ y14;
    let t1 = u4 ^ y12;
    let y15 = t1 ^ u5;
    let t2 = y12 & y15;
    let y6 = y15 ^ u7;
    let y20 = t1 ^ u1;
    let y9 = u0 ^ u3;
    let y11 = y20 ^ y9;
    let t12 = y9 & y11;
    let y7 = u7 ^ y11;
    let y8 = u0 ^ u5;
    let t0 = u1 ^ u2;
    let y10 = y15 ^ t0;
    let y17 = y10 ^ y11;
    let t13 = y14 & y17;
    let t14 = t13 ^ t12;
    let y19 = y10 ^ y8;
    let t15 = y8 & y10;
    let t16 = t15 ^ t12;
    let y16 = t0 ^ y11;
    let y21 = y13 ^ y16;
    let t7 = y13 & y16;
    let y18 = u0 ^ y16;
    let y1 = t0 ^ u7;
    let y4 = y1 ^ u3;
    let t5 = y4 & u7;
    let t6 = t5 ^ t2;
    let t18 = t6 ^ t16;
    let t22 = t18 ^ y19;
    let y2 = y1 ^ u0;
    let t10 = y2 & y7;
    let t11 = t10 ^ t7;
    let t20 = t11 ^ t16;
    let t24 = t20 ^ y18;
    let y5 = y1 ^ u6;
    let t8 = y5 & y1;
    let t9 = t8 ^ t7;
    let t19 = t9 ^ t14;
    let t23 = t19 ^ y21;
    let y3 = y5 ^ y8;
    let t3 = y3 & y6;
    let t4 = t3 ^ t2;
    let t17 = t4 ^ y20;
    let t21 = t17 ^ t14;
    let t26 = t21 & t23;
    let t27 = t24 ^ t26;
    let t31 = t22 ^ t26;
    let t25 = t21 ^ t22;
    let t28 = t25 & t27;
    let t29 = t28 ^ t22;
    let z14 = t29 & y2;
    let z5 = t29 & y7;
    let t30 = t23 ^ t24;
    let t32 = t31 & t30;
    let t33 = t32 ^ t24;
    let t35 = t27 ^ t33;
    let t36 = t24 & t35;
    let t38 = t27 ^ t36;
    let t39 = t29 & t38;
    let t40 = t25 ^ t39;
    let t43 = t29 ^ t40;
    let z3 = t43 & y16;
    let tc12 = z3 ^ z5;
    let z12 = t43 & y13;
    let z13 = t40 & y5;
    let z4 = t40 & y1;
    let tc6 = z3 ^ z4;
    let t34 = t23 ^ t33;
    let t37 = t36 ^ t34;
    let t41 = t40 ^ t37;
    let z8 = t41 & y10;
    let z17 = t41 & y8;
    let t44 = t33 ^ t37;
    let z0 = t44 & y15;
    let z9 = t44 & y12;
    let z10 = t37 & y3;
    let z1 = t37 & y6;
    let tc5 = z1 ^ z0;
    let tc11 = tc6 ^ tc5;
    let z11 = t33 & y4;
    let t42 = t29 ^ t33;
    let t45 = t42 ^ t41;
    let z7 = t45 & y17;
    let tc8 = z7 ^ tc6;
    let z16 = t45 & y14;
    let z6 = t42 & y11;
    let tc16 = z6 ^ tc8;
    let z15 = t42 & y9;
    let tc20 = z15 ^ tc16;
    let tc1 = z15 ^ z16;
    let tc2 = z10 ^ tc1;
    let tc21 = tc2 ^ z11;
    let tc3 = z9 ^ tc2;
    let s0 = tc3 ^ tc16;
    let s3 = tc3 ^ tc11;
    let s1 = s3 ^ tc16;
    let tc13 = z13 ^ tc1;
    let z2 = t33 & u7;
    let tc4 = z0 ^ z2;
    let tc7 = z12 ^ tc4;
    let tc9 = z8 ^ tc7;
    let tc10 = tc8 ^ tc9;
    let tc17 = z14 ^ tc10;
    let s5 = tc21 ^ tc17;
    let tc26 = tc17 ^ tc20;
    let s2 = tc26 ^ z17;
    let tc14 = tc4 ^ tc12;
    let tc18 = tc13 ^ tc14;
    let s6 = tc10 ^ tc18;
    let s7 = z12 ^ tc18;
    let s4 = tc14 ^ s3;
    return State(vec4(s7, s6, s5, s4), vec4(s3, s2, s1, s0));
}
