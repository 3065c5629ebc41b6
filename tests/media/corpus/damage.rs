//! What can be done to any file: bytes that look random and are the same each time, cuts, flips.

/// A stream of numbers that is the same each time.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % most.max(1)
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.below(256) as u8).collect()
    }
}

/// The same file with so many bits turned over.
pub fn flipped(file: &[u8], bits: usize, seed: u64) -> Vec<u8> {
    let (mut random, mut file) = (Random::new(seed), file.to_vec());
    for _ in 0..bits {
        let place = random.below(file.len());
        file[place] ^= 1 << random.below(8);
    }
    file
}

/// Everything that is done to a seed, each with its name; the first is the seed as it stands.
pub fn all(file: &[u8], seed: u64) -> Vec<(String, Vec<u8>)> {
    let mut all = vec![("whole".to_owned(), file.to_vec())];
    for percent in [2, 40, 95] {
        let cut = file[..file.len() * percent / 100].to_vec();
        all.push((format!("cut-{percent}"), cut));
    }
    all.push(("cut-one".into(), file[..file.len() - 1].to_vec()));
    for bits in [1, 10, 1000] {
        all.push((
            format!("flip-{bits}"),
            flipped(file, bits, seed + bits as u64),
        ));
    }
    let head = file.len().min(64);
    let garbage = Random::new(seed).bytes(file.len() - head);
    all.push(("garbage".into(), [&file[..head], &garbage].concat()));
    let mut hole = file.to_vec();
    hole[file.len() / 3..file.len() * 2 / 3].fill(0);
    all.push(("hole".into(), hole));
    all
}

/// The same file with these bytes at a place.
pub fn patched(file: &[u8], place: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    file[place..place + bytes.len()].copy_from_slice(bytes);
    file
}

/// Where a sequence stands first.
pub fn find(file: &[u8], wanted: &[u8]) -> usize {
    let found = file.windows(wanted.len()).position(|bytes| bytes == wanted);
    found.unwrap_or_else(|| panic!("no {wanted:?} in it"))
}
