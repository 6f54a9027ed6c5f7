//! The heartbeat on its own, in a plain program: what is active, and what the process uses.
//!
//! `cargo run -p daglight-heartbeat --example beats`

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use daglight_heartbeat::{Beat, Heartbeat, HeartbeatConfig, NoProgress};

fn main() {
    let (said, beats) = mpsc::channel();
    let config = HeartbeatConfig { interval: Duration::from_millis(50), ..HeartbeatConfig::default() };
    // Called on the heartbeat's own thread, however busy the program is.
    let on_beat = move |beat: &Beat| {
        let active: Vec<&str> = beat.active_tasks.iter().map(|task| task.name.as_str()).collect();
        let megabytes = beat.process.resident_bytes.unwrap_or_default() >> 20;
        // The receiver may be gone.
        let _ = said.send(format!("beat {}: [{}], {megabytes} MB", beat.sequence, active.join(", ")));
    };
    let heartbeat = Heartbeat::start(config, Arc::new(NoProgress), Box::new(on_beat));
    for file in ["orders.csv", "lines.csv"] {
        let _task = heartbeat.task_started(file); // until it is dropped
        thread::sleep(Duration::from_millis(500)); // the work
    }
    heartbeat.stop();
    beats.iter().for_each(|beat| println!("{beat}"));
}
