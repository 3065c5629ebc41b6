//! Schedules: a seed comes in, all that will happen in one simulated run comes out.
//!
//! A schedule is plain data: the same seed gives the same one, it can be printed, and made smaller
//! piece by piece while it still fails.

use std::ops::Range;

use ciphermill::job::Mode;
use fastrand::Rng;

/// Plaintext bytes of one part: the smallest that the ciphers allow.
pub const PART_BYTES: usize = 16 * 1024;

/// One run.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub seed: u64,
    pub family: Family,
    /// Whether the store behaves like Garage instead of Amazon S3.
    pub garage: bool,
    pub workers: usize,
    pub slots: usize,
    pub jobs: Vec<JobSpec>,
    pub steps: Vec<Step>,
}

/// What may happen in a run, and so what must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Each job is one message, worked on by one worker at a time.
    Single,
    /// Messages come twice, and a worker may hold a job that another one has too.
    Overlapping,
}

/// One job.
#[derive(Clone, Debug)]
pub struct JobSpec {
    pub number: usize,
    pub input: InputSpec,
    pub outputs: Vec<OutputSpec>,
    /// When it is submitted, once or more often, in milliseconds.
    pub submitted_ms: Vec<u64>,
}

/// Its input.
#[derive(Clone, Debug)]
pub struct InputSpec {
    pub mode: Option<Mode>,
    pub plain_bytes: usize,
    pub fault: InputFault,
}

/// What is wrong with an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputFault {
    None,
    /// One bit of it was changed, in a mode that notices.
    Forged,
    /// It is not there.
    Missing,
    /// It is not what the job promises.
    BrokenPromise,
}

/// One output.
#[derive(Clone, Debug)]
pub struct OutputSpec {
    pub mode: Option<Mode>,
    pub key_bytes: usize,
    pub key: KeySpec,
    pub given_iv: bool,
    pub if_absent: bool,
    pub required: bool,
    /// Somebody else's object stands in its place before the job comes.
    pub stranger: bool,
}

/// Whose key an output uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySpec {
    /// One of its own, which the job names.
    Own,
    /// The one that the output before it uses; the same mode then.
    Shared,
    /// The key and the IV of the output before it, under another name: such a job must be refused.
    Alias,
    /// The worker makes one.
    Generated,
}

/// Something that happens at the seam call of this number, counted over all workers.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub call: u64,
    pub what: What,
}

/// What happens.
#[derive(Clone, Copy, Debug)]
pub enum What {
    /// The worker dies: before the call reaches its store, key source or queue, or after the work
    /// was done. Another one starts after so many milliseconds.
    Crash { after: bool, restart_ms: u64 },
    /// The worker is paused (SIGSTOP) and resumed later.
    Pause { after: bool, ms: u64 },
    /// The call takes longer.
    Delay { after: bool, ms: u64 },
    /// The call fails without being made.
    Refuse,
    /// The call is refused for good: this worker may not do it.
    Deny,
    /// The call is made and its answer is lost.
    LoseAnswer,
    /// A read ends after so many bytes.
    Truncate { bytes: u64 },
    /// The worker does not reach the store for so long.
    Partition { ms: u64 },
    /// The worker's connections to the broker are cut.
    Cut,
    /// Somebody writes a new version of a job's source.
    Overwrite { job: usize },
    /// Somebody writes an object of their own to where an output may not replace anything.
    Intrude { job: usize },
}

impl OutputSpec {
    /// Whether it may not be written, since something is there.
    pub fn is_refused(&self) -> bool {
        self.if_absent && self.stranger
    }
}

impl JobSpec {
    /// Whether it can only fail: a required output may not be written, or two would meet one
    /// keystream.
    pub fn is_refused(&self) -> bool {
        let mut outputs = self.outputs.iter();
        outputs.any(|output| {
            // Under counter mode an empty plaintext uses no keystream.
            // The plan knows the length of a CBC source only up to a block, and takes the longest.
            let empty = self.input.plain_bytes == 0 && self.input.mode != Some(Mode::AesCbcPkcs7);
            let met = !empty || output.mode != Some(Mode::AesCtr);
            output.key == KeySpec::Alias && met || output.required && output.is_refused()
        })
    }
}

const MODES: [Mode; 4] = [
    Mode::Cobblestone,
    Mode::AesGcm,
    Mode::AesCtr,
    Mode::AesCbcPkcs7,
];

impl Schedule {
    /// The schedule of this seed.
    pub fn of(seed: u64) -> Schedule {
        let mut rng = Rng::with_seed(seed);
        let family = match rng.u8(..4) {
            0 => Family::Overlapping,
            _ => Family::Single,
        };
        let workers = rng.usize(1..=2);
        let count = rng.usize(1..=2);
        let jobs: Vec<_> = (0..count)
            .map(|number| job(&mut rng, number, family))
            .collect();
        let steps = (0..rng.usize(0..=6)).map(|_| step(&mut rng, family, count));
        let mut steps: Vec<_> = steps.collect();
        steps.sort_by_key(|step| step.call);
        Schedule {
            seed,
            family,
            garage: rng.u8(..4) == 0,
            workers,
            slots: rng.usize(1..=2),
            jobs,
            steps,
        }
    }

    /// Whether somebody writes a new version of this job's source.
    pub fn overwrites(&self, number: usize) -> bool {
        let overwrites =
            |step: &Step| matches!(step.what, What::Overwrite { job } if job == number);
        self.steps.iter().any(overwrites)
    }

    /// Whether somebody writes to where an output of this job goes.
    pub fn intrudes(&self, number: usize) -> bool {
        let intrudes = |step: &Step| matches!(step.what, What::Intrude { job } if job == number);
        self.steps.iter().any(intrudes)
    }

    /// Whether something is refused for good in it, which may fail any job.
    pub fn denies(&self) -> bool {
        let denies = |step: &Step| matches!(step.what, What::Deny);
        self.steps.iter().any(denies)
    }

    /// Whether anything happens that may keep a worker from aborting its uploads.
    pub fn disturbs(&self) -> bool {
        self.steps.iter().any(|step| match step.what {
            What::Crash { .. }
            | What::Refuse
            | What::Deny
            | What::LoseAnswer
            | What::Partition { .. }
            | What::Cut => true,
            What::Pause { .. }
            | What::Delay { .. }
            | What::Truncate { .. }
            | What::Overwrite { .. }
            | What::Intrude { .. } => false,
        })
    }

    /// What is left when the pieces of which `keep` says no are taken away: jobs first, then steps.
    pub fn keep(&self, keep: impl Fn(usize) -> bool) -> Schedule {
        let jobs = self.jobs.iter().enumerate();
        let jobs = jobs
            .filter(|(piece, _)| keep(*piece))
            .map(|(_, job)| job.clone());
        let steps = self.steps.iter().enumerate();
        let steps = steps.filter(|(index, _)| keep(self.jobs.len() + index));
        Schedule {
            jobs: jobs.collect(),
            steps: steps.map(|(_, step)| *step).collect(),
            ..self.clone()
        }
    }

    /// How many pieces there are to take away.
    pub fn pieces(&self) -> usize {
        self.jobs.len() + self.steps.len()
    }
}

fn chance(rng: &mut Rng, percent: u8) -> bool {
    rng.u8(..100) < percent
}

fn pick(rng: &mut Rng, range: Range<u64>) -> u64 {
    rng.u64(range)
}

fn job(rng: &mut Rng, number: usize, family: Family) -> JobSpec {
    let mut submitted_ms = vec![pick(rng, 0..2_000)];
    if family == Family::Overlapping {
        submitted_ms.extend((0..rng.usize(1..=2)).map(|_| pick(rng, 0..20_000)));
    }
    let count = rng.usize(1..=3);
    let mut outputs: Vec<OutputSpec> = Vec::new();
    for _ in 0..count {
        let next = output(rng, outputs.last());
        outputs.push(next);
    }
    // A job needs something to do.
    outputs[0].required = true;
    JobSpec {
        number,
        input: input(rng),
        outputs,
        submitted_ms,
    }
}

fn input(rng: &mut Rng) -> InputSpec {
    let mode = chance(rng, 50).then(|| MODES[rng.usize(..MODES.len())]);
    let plain_bytes = match rng.u8(..4) {
        0 => rng.usize(..100),
        1 => rng.usize(..4) * PART_BYTES,
        _ => rng.usize(..4 * PART_BYTES),
    };
    let authentic = matches!(mode, Some(Mode::Cobblestone | Mode::AesGcm));
    let fault = match rng.u8(..20) {
        0 | 1 if authentic => InputFault::Forged,
        2 => InputFault::Missing,
        3 => InputFault::BrokenPromise,
        _ => InputFault::None,
    };
    InputSpec {
        mode,
        plain_bytes,
        fault,
    }
}

fn output(rng: &mut Rng, before: Option<&OutputSpec>) -> OutputSpec {
    let mode = chance(rng, 85).then(|| MODES[rng.usize(..MODES.len())]);
    let key_bytes = match mode {
        Some(Mode::Cobblestone) => [16, 32][rng.usize(..2)],
        Some(Mode::AesGcm | Mode::AesCtr | Mode::AesCbcPkcs7) | None => {
            [16, 24, 32][rng.usize(..3)]
        }
    };
    let mut output = OutputSpec {
        mode,
        key_bytes,
        key: match chance(rng, 30) {
            true => KeySpec::Generated,
            false => KeySpec::Own,
        },
        given_iv: chance(rng, 40) && !matches!(mode, None | Some(Mode::Cobblestone)),
        if_absent: chance(rng, 25),
        required: chance(rng, 75),
        stranger: chance(rng, 15),
    };
    if let Some(before) = before
        && before.mode.is_some()
        && before.key != KeySpec::Generated
        && chance(rng, 25)
    {
        output.mode = before.mode;
        output.key_bytes = before.key_bytes;
        let counts = matches!(before.mode, Some(Mode::AesCtr | Mode::AesGcm));
        let alias = before.key == KeySpec::Own && before.given_iv && counts;
        output.key = match alias && chance(rng, 30) {
            true => KeySpec::Alias,
            false => KeySpec::Shared,
        };
        output.given_iv = output.key == KeySpec::Alias;
    }
    output
}

fn step(rng: &mut Rng, family: Family, jobs: usize) -> Step {
    let call = pick(rng, 3..20 + 25 * jobs as u64);
    let after = rng.bool();
    let what = match rng.u8(..22) {
        0..=4 => What::Crash {
            after,
            restart_ms: pick(rng, 0..30_000),
        },
        5 | 6 => What::Pause {
            after,
            // In a single family nobody may take the job meanwhile.
            ms: match family {
                Family::Single => pick(rng, 1..60_000),
                Family::Overlapping => pick(rng, 1..4_000_000),
            },
        },
        7 | 8 => What::Delay {
            after,
            ms: pick(rng, 1..20_000),
        },
        9..=11 => What::Refuse,
        12..=14 => What::LoseAnswer,
        15 => What::Truncate {
            bytes: pick(rng, 0..PART_BYTES as u64),
        },
        16 => What::Partition {
            ms: pick(rng, 1..120_000),
        },
        17 if family == Family::Overlapping => What::Cut,
        17 | 18 => What::Overwrite {
            job: rng.usize(..jobs),
        },
        19 => What::Deny,
        20 => What::Intrude {
            job: rng.usize(..jobs),
        },
        _ => What::Refuse,
    };
    Step { call, what }
}
