//! The capture policy on its own: what may leave a process has its own type, which only a policy can create.
//!
//! `cargo run -p daglight-capture-policy --example policy_alone`

use daglight_capture_policy::{Captured, Policy, Profile};

fn main() {
    for profile in [Profile::Dev, Profile::Prod] {
        let policy = Policy::of_profile(profile);
        let sql = "SELECT * FROM orders WHERE customer = 'Ann' AND token = 'hunter2-hunter2'";
        println!("{profile}");
        say("sql", policy.capture_sql(sql));
        say("error", Some(policy.capture_error("cannot connect to postgres://me:secret@db/shop")));
        say("input", Some(policy.capture_input("password", "secret")));
        say("path", policy.capture_path("s3://shop/orders/customer=Ann/part-0.parquet"));
    }
}

/// A function that sends something takes `Captured`, so it cannot be called with anything else.
fn say(what: &str, captured: Option<Captured>) {
    println!("  {what}: {}", captured.map_or_else(|| "not shown".to_owned(), |captured| captured.to_text()));
}
