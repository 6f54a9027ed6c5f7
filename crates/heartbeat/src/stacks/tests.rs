use std::{
    fs,
    hint::black_box,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
};

use super::*;

/// Checks the stack of a thread that does this, once it contains a frame of the function.
#[track_caller]
fn check(function: &str, work: impl FnOnce() + Send + 'static) {
    let is_in = |stack: &ThreadStack| stack.frames.iter().any(|frame| frame.contains(function));
    stack_of(started(work), is_in);
}

/// The stack of a thread, once it is as it should be: the thread may not have come there yet, or may not have had a processor.
#[track_caller]
fn stack_of(number: u64, is_expected: impl Fn(&ThreadStack) -> bool) -> ThreadStack {
    let begun = Instant::now();
    let mut last = None;
    while begun.elapsed() < Duration::from_secs(20) {
        match stacks_of(&[number], in_a_minute()).remove(&number) {
            Some(stack) if is_expected(&stack) => return stack,
            stack => last = stack,
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("it is {last:#?}");
}

fn in_a_minute() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// Whether the system samples a thread that computes. One that refuses does so for want of a permission, and then there is no stack.
#[track_caller]
fn is_sampled(number: u64) -> bool {
    let Err(refused) = linux::running::place_of(number, in_a_minute()) else { return true };
    assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied, "{refused}");
    assert_eq!(stacks_of(&[number], in_a_minute()), BTreeMap::new());
    false
}

/// The number of a new thread that does this.
fn started(work: impl FnOnce() + Send + 'static) -> u64 {
    let (sender, number) = mpsc::channel();
    thread::spawn(move || {
        sender.send(own_number()).unwrap();
        work();
    });
    number.recv().unwrap()
}

fn own_number() -> u64 {
    let link = fs::read_link("/proc/thread-self").unwrap();
    link.file_name().unwrap().to_str().unwrap().parse().unwrap()
}

#[inline(never)]
fn sleeps_for_long() {
    thread::sleep(Duration::from_secs(black_box(3_600)));
    black_box(());
}

#[inline(never)]
fn waits_for_a_lock(lock: &Mutex<u8>) {
    let _guard = black_box(lock.lock().unwrap());
}

#[inline(never)]
fn reads_a_pipe(mut pipe: impl std::io::Read) {
    black_box(pipe.read(&mut [0; 8]).unwrap());
}

#[test]
fn a_thread_that_sleeps_shows_who_called() {
    check("sleeps_for_long", sleeps_for_long);
}

#[test]
fn a_thread_that_waits_for_a_lock_shows_who_called() {
    let lock = Arc::new(Mutex::new(0));
    let of_thread = Arc::clone(&lock);
    let _held = lock.lock().unwrap();
    check("waits_for_a_lock", move || waits_for_a_lock(&of_thread));
}

#[test]
fn a_thread_that_reads_shows_who_called() {
    let (reader, _writer) = std::io::pipe().unwrap();
    check("reads_a_pipe", move || reads_a_pipe(reader));
}

#[inline(never)]
fn computes(go_on: &AtomicBool) -> u64 {
    let mut sum = 0;
    while !go_on.load(Ordering::Relaxed) {
        sum = black_box(adds(black_box(sum)));
    }
    black_box(sum)
}

#[inline(never)]
fn adds(sum: u64) -> u64 {
    (0..1_000).fold(sum, |sum, number| black_box(sum.wrapping_add(number)))
}

#[test]
fn a_thread_that_computes_shows_who_called() {
    let go_on = Arc::new(AtomicBool::new(false));
    let of_thread = Arc::clone(&go_on);
    let number = started(move || _ = computes(&of_thread));
    if is_sampled(number) {
        let is_in = |frame: &String| frame.contains("stacks::tests::computes");
        let stack = stack_of(number, |stack| stack.frames.iter().any(is_in));
        assert_eq!(stack.end, StackEnd::Whole, "{stack:#?}");
    }
    go_on.store(true, Ordering::Relaxed);
}

#[inline(never)]
fn goes_down(depth: u32, go_on: &AtomicBool) -> u64 {
    if depth == 0 { computes(go_on) } else { black_box(goes_down(black_box(depth - 1), go_on)) + 1 }
}

#[test]
fn of_a_deep_stack_that_computes_the_inner_frames_are_known() {
    let go_on = Arc::new(AtomicBool::new(false));
    let of_thread = Arc::clone(&go_on);
    let number = started(move || _ = goes_down(5_000, &of_thread));
    if is_sampled(number) {
        let is_of_it = |frame: &&String| frame.contains("goes_down");
        let stack = stack_of(number, |stack| stack.frames.iter().filter(is_of_it).count() > 100);
        assert_ne!(stack.end, StackEnd::Whole);
    }
    go_on.store(true, Ordering::Relaxed);
}

#[test]
fn a_thread_that_has_ended_has_no_stack() {
    let (sender, number) = mpsc::channel();
    let ended = thread::spawn(move || sender.send(own_number()).unwrap());
    ended.join().unwrap();
    let number = number.recv().unwrap();
    assert_eq!(stacks_of(&[number], in_a_minute()), BTreeMap::new());
}

#[test]
fn names_that_are_not_found_in_time_are_places_in_files() {
    let number = started(sleeps_for_long);
    let begun = Instant::now();
    let stack = loop {
        let memory_only =
            linux::of_threads_within(&[number], Instant::now() + Duration::from_secs(60), Instant::now());
        match memory_only.into_values().next() {
            Some(stack) if stack.frames.len() > 8 => break stack,
            _ => assert!(begun.elapsed() < Duration::from_secs(20)),
        }
    };
    assert!(stack.frames.iter().all(|frame| frame.contains("+0x") && !frame.contains('/')), "{stack:#?}");
    assert_eq!(stack.end, StackEnd::Whole);
}

#[test]
fn each_of_many_threads_has_its_own_stack() {
    let numbers: Vec<u64> = (0..500).map(|_| started(sleeps_for_long)).collect();
    let begun = Instant::now();
    let sleep = |stack: &ThreadStack| stack.frames.iter().any(|frame| frame.contains("sleeps_for_long"));
    loop {
        let stacks = stacks_of(&numbers, Instant::now() + Duration::from_secs(60));
        if stacks.len() == numbers.len() && stacks.values().all(sleep) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{} of {}", stacks.len(), numbers.len());
    }
}

#[test]
fn what_every_thread_has_is_left_out() {
    let check = |frames: &[&str], expected: usize| {
        let all: Vec<_> = frames.iter().map(|frame| (*frame).to_owned()).collect();
        assert_eq!(without_runtime(all.clone()), all[..expected], "{frames:#?}");
    };
    let begin = [PROGRAM_BEGINS, "std::panicking::catch_unwind::do_call", "libc.so.6+0x891f4"];
    check(&["read", "shop::read", begin[0], begin[1], begin[2]], 2);
    let poll = ["<tokio::runtime::task::Core<T,S> as core::future::Future>::poll", "__rust_try"];
    check(&["read", "shop::read", poll[0], poll[1], begin[0], begin[1]], 2);
    // The function of tokio that the program calls is kept.
    check(&["read", poll[0], "shop::main", begin[0]], 3);
    check(&[poll[0], poll[1], begin[0], begin[1]], 4);
    check(&["read", "shop::read"], 2);
}

#[test]
fn what_cannot_be_looked_at_in_time_is_not_asked_for_again() {
    let mut sampler = StackSampler::new(true);
    let (_never, hangs) = mpsc::channel::<()>();
    let found = sampler.within_time(move |_| {
        let _ = hangs.recv();
        BTreeMap::new()
    });
    assert!(found.is_empty() && !sampler.is_on && sampler.time_left.is_zero());
}

#[test]
fn the_stacks_of_a_run_and_of_a_beat_have_a_limit() {
    let mut sampler = StackSampler::new(true);
    let number = started(sleeps_for_long);
    let mut sampled = |frames, is_late| {
        sampler.frames = frames;
        sampler.begin_beat();
        if is_late {
            sampler.time_left = Duration::ZERO;
        }
        let mut threads = [StalledThread {
            name: String::new(),
            state: String::new(),
            waits_in: None,
            writes_to: None,
            cpu_seconds: 0.0,
            number: Some(number),
            stack: None,
        }];
        sampler.sample(&mut threads);
        threads[0].stack.is_some()
    };
    let begun = Instant::now();
    while !sampled(0, false) {
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
    assert!(!sampled(MOST_OF_RUN, false) && !sampled(0, true));
    assert!(sampled(0, false));
}
