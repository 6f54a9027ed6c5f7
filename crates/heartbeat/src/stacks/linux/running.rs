//! Where a running thread is: the registers and the stack that the system copies while the thread computes (`perf_event_open(2)`).
//!
//! The thread gets no signal, so that none of its system calls is interrupted. Systems that do not let a process measure itself
//! (`kernel.perf_event_paranoid` above 2, or the default filter of container runtimes) refuse it, and then there is no stack.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use perf_event::{Builder, SampleFlag, Sampler, data::Record, events::Software};

use super::{
    memory::StackCopy,
    registers::{Registers, of_sample, sampled_mask},
};

/// The part of the stack that is copied. A record has at most 64 KiB.
const STACK_BYTES: u32 = 60 << 10;
/// For two records.
const BUFFER_BYTES: usize = 128 << 10;
/// The time that a thread computes before it is sampled.
const PERIOD: Duration = Duration::from_micros(100);
/// How long to wait for a thread to compute that long: others may have the processors.
const PATIENCE: Duration = Duration::from_millis(50);
const PAUSE: Duration = Duration::from_millis(1);

/// Where a thread was at one moment.
pub(in super::super) struct Place {
    pub(super) code: u64,
    pub(super) registers: Registers,
    pub(super) stack: StackCopy,
}

/// The place of a thread that computes. `None` if it does not compute before the deadline, or an error if the system refuses.
pub(in super::super) fn place_of(number: u64, deadline: Instant) -> io::Result<Option<Place>> {
    let number = i32::try_from(number).map_err(io::Error::other)?;
    let mut event = Builder::new(Software::TASK_CLOCK);
    // Sampling the user's code alone needs no privilege.
    event.observe_pid(number).any_cpu().exclude_kernel(true).exclude_hv(true);
    event.sample(SampleFlag::REGS_USER | SampleFlag::STACK_USER);
    event.sample_regs_user(sampled_mask()).sample_stack_user(STACK_BYTES);
    event.sample_period(u64::try_from(PERIOD.as_nanos()).unwrap_or(u64::MAX));
    let mut sampler = event.build()?.sampled(BUFFER_BYTES)?;
    sampler.enable()?;
    let until = deadline.min(Instant::now() + PATIENCE);
    let mut place = None;
    while place.is_none() && Instant::now() < until {
        thread::sleep(PAUSE);
        place = next_place(&mut sampler);
    }
    Ok(place)
}

fn next_place(sampler: &mut Sampler) -> Option<Place> {
    while let Some(record) = sampler.next_record() {
        let Ok(Record::Sample(sample)) = record.parse_record() else { continue };
        let sampled = sample.regs_user().and_then(|registers| of_sample(&registers.regs));
        let Some(((code, registers), bytes)) = sampled.zip(sample.stack_user()) else { continue };
        let stack = StackCopy { from: registers.stack_pointer, bytes: bytes.to_vec() };
        return Some(Place { code, registers, stack });
    }
    None
}
