//! WebVTT and TTML in MP4, box by box after ISO 14496-12 and 14496-30: no tool here writes `wvtt`.

pub fn boxed(name: &[u8; 4], parts: &[Vec<u8>]) -> Vec<u8> {
    let body = parts.concat();
    let size = u32::try_from(body.len() + 8).unwrap();
    [&size.to_be_bytes()[..], name, &body].concat()
}

pub fn full(name: &[u8; 4], flags: u32, parts: &[Vec<u8>]) -> Vec<u8> {
    let mut all = vec![flags.to_be_bytes().to_vec()];
    all.extend_from_slice(parts);
    boxed(name, &all)
}

pub fn u32s(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_be_bytes()).collect()
}

/// A sample: how long it holds, in milliseconds, and its bytes.
pub type Sample = (u32, Vec<u8>);

/// A cue as it stands in a sample.
pub fn vttc(settings: &str, text: &str) -> Vec<u8> {
    let mut parts = vec![boxed(b"iden", &[b"a name".to_vec()])];
    if !settings.is_empty() {
        parts.push(boxed(b"sttg", &[settings.into()]));
    }
    parts.push(boxed(b"payl", &[text.into()]));
    boxed(b"vttc", &parts)
}

/// A sample without a cue.
pub fn vtte() -> Vec<u8> {
    boxed(b"vtte", &[])
}

const MATRIX: [u32; 9] = [0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x4000_0000];

fn moov(entry: Vec<u8>, table: &[Vec<u8>], duration: u32, fragmented: bool) -> Vec<u8> {
    let stsd = full(b"stsd", 0, &[u32s(&[1]), entry]);
    let stbl = boxed(b"stbl", &[&[stsd], table].concat());
    let dref = full(b"dref", 0, &[u32s(&[1]), full(b"url ", 1, &[])]);
    let minf = boxed(
        b"minf",
        &[full(b"nmhd", 0, &[]), boxed(b"dinf", &[dref]), stbl],
    );
    // "eng"
    let mdhd = full(b"mdhd", 0, &[u32s(&[0, 0, 1000, duration, 0x15c7_0000])]);
    let hdlr = full(b"hdlr", 0, &[u32s(&[0]), b"text".to_vec(), vec![0; 13]]);
    let mdia = boxed(b"mdia", &[mdhd, hdlr, minf]);
    let tkhd = [
        u32s(&[0, 0, 1, 0, duration]),
        vec![0; 16],
        u32s(&MATRIX),
        vec![0; 8],
    ];
    let trak = boxed(b"trak", &[full(b"tkhd", 3, &tkhd), mdia]);
    let mvhd = [
        u32s(&[0, 0, 1000, duration, 0x10000]),
        vec![1, 0],
        vec![0; 10],
        u32s(&MATRIX),
        vec![0; 24],
        u32s(&[2]),
    ];
    let mut parts = vec![full(b"mvhd", 0, &mvhd), trak];
    if fragmented {
        parts.push(boxed(
            b"mvex",
            &[full(b"trex", 0, &[u32s(&[1, 1, 0, 0, 0])])],
        ));
    }
    boxed(b"moov", &parts)
}

fn entry(name: &[u8; 4]) -> Vec<u8> {
    let head = vec![0, 0, 0, 0, 0, 0, 0, 1];
    match name {
        b"wvtt" => boxed(name, &[head, boxed(b"vttC", &[b"WEBVTT".to_vec()])]),
        _ => boxed(name, &[head, b"http://www.w3.org/ns/ttml\0\0\0".to_vec()]),
    }
}

fn ftyp() -> Vec<u8> {
    boxed(b"ftyp", &[b"isom\0\0\0\0isom".to_vec()])
}

/// A file with one table of samples.
pub fn plain(name: &[u8; 4], samples: &[Sample]) -> Vec<u8> {
    let count = u32::try_from(samples.len()).unwrap();
    let times: Vec<u8> = samples
        .iter()
        .flat_map(|(duration, _)| u32s(&[1, *duration]))
        .collect();
    let sizes: Vec<u32> = samples
        .iter()
        .map(|(_, data)| u32::try_from(data.len()).unwrap())
        .collect();
    let duration = samples.iter().map(|(duration, _)| duration).sum();
    let with = |offset: u32| {
        let table = [
            full(b"stts", 0, &[u32s(&[count]), times.clone()]),
            full(b"stsc", 0, &[u32s(&[1, 1, count, 1])]),
            full(b"stsz", 0, &[u32s(&[0, count]), u32s(&sizes)]),
            full(b"stco", 0, &[u32s(&[1, offset])]),
        ];
        moov(entry(name), &table, duration, false)
    };
    let offset = ftyp().len() + with(0).len() + 8;
    let data: Vec<Vec<u8>> = samples.iter().map(|(_, data)| data.clone()).collect();
    [
        ftyp(),
        with(u32::try_from(offset).unwrap()),
        boxed(b"mdat", &data),
    ]
    .concat()
}

/// The same in fragments of one sample each.
pub fn fragmented(name: &[u8; 4], samples: &[Sample]) -> Vec<u8> {
    let empty = [
        full(b"stts", 0, &[u32s(&[0])]),
        full(b"stsc", 0, &[u32s(&[0])]),
        full(b"stsz", 0, &[u32s(&[0, 0])]),
        full(b"stco", 0, &[u32s(&[0])]),
    ];
    let mut file = [ftyp(), moov(entry(name), &empty, 0, true)].concat();
    let mut time = 0;
    for (number, (duration, data)) in (1..).zip(samples) {
        let size = u32::try_from(data.len()).unwrap();
        let moof = |offset: u32| {
            let traf = boxed(
                b"traf",
                &[
                    full(b"tfhd", 0x02_0000, &[u32s(&[1])]),
                    full(b"tfdt", 0, &[u32s(&[time])]),
                    full(b"trun", 0x301, &[u32s(&[1, offset, *duration, size])]),
                ],
            );
            boxed(b"moof", &[full(b"mfhd", 0, &[u32s(&[number])]), traf])
        };
        file.extend(moof(u32::try_from(moof(0).len() + 8).unwrap()));
        file.extend(boxed(b"mdat", std::slice::from_ref(data)));
        time += duration;
    }
    file
}
