//! Scripts for the operator, on each edition.

use super::*;

const EDITIONS: [Edition; 4] = [Edition::Old, Edition::Rewritten, Edition::Cutting, Edition::Inline];

/// Runs a script on each edition, several times: where threads interrupt each other differs.
fn run_on_all(capacity: Option<usize>, actions: &[Action]) {
    for edition in EDITIONS {
        for seed in 0..50 {
            let console = Console::new(edition, true, capacity);
            let world = World::with(console, Rng::new(seed), actions);
            let ran = world.run(actions, ORACLES);
            assert!(ran.is_ok(), "{edition:?}, {seed}: {:?}", ran.unwrap_err());
        }
    }
}

/// F2, F4, F7 and F9 take the keys that were to end the read [hc53].
#[test]
fn hc53_a_print_appears_once_a_popup_is_closed_and_the_line_is_whole() {
    for popup in 0..4 {
        run_on_all(
            None,
            &[
                Action::Type(5),
                Action::Enter,
                Action::Type(9),
                Action::Popup(popup),
                Action::Print,
                Action::Pass(5_000),
                Action::PopupKey(7),
                Action::Pass(1_500),
                Action::Type(3),
                Action::Print,
                Action::Pass(1_500),
                Action::Enter,
            ],
        );
    }
}

/// The first key after Ctrl-S or Pause continues the output, and is lost [hc54].
#[test]
fn hc54_a_console_that_is_held_loses_no_text_although_it_drops_a_key() {
    for ctrl_s in [true, false] {
        run_on_all(
            None,
            &[
                Action::Type(9),
                Action::Edit(11),
                Action::Edit(11),
                Action::Hold(ctrl_s),
                Action::Print,
                Action::Pass(2_000),
                Action::Type(3),
                Action::Hold(ctrl_s),
                Action::Pass(2_000),
                Action::Print,
                Action::Pass(2_000),
                Action::Enter,
            ],
        );
    }
}

/// The old edition takes only Enter and Backspace when the line is full [hc55].
#[test]
fn hc55_a_full_line_delays_prints_until_there_is_room_and_loses_nothing() {
    run_on_all(
        Some(24),
        &[
            Action::Type(12),
            Action::Type(12),
            Action::Print,
            Action::Pass(5_000),
            Action::Edit(1),
            Action::Edit(5),
            Action::Edit(5),
            Action::Edit(5),
            Action::Pass(1_500),
            Action::Type(12),
            Action::Type(12),
            Action::Print,
            Action::Pass(3_000),
            Action::Enter,
        ],
    );
}

/// While another process reads the console it gets the keys, ours included; afterwards all is as before [hc56].
#[test]
fn hc56_another_reader_of_the_console_delays_prints_and_does_not_prevent_them() {
    run_on_all(
        None,
        &[
            Action::Type(5),
            Action::Print,
            Action::Share(true),
            Action::Print,
            Action::Pass(3_000),
            Action::Type(5),
            Action::Enter,
            Action::Share(false),
            Action::Print,
            Action::Pass(1_500),
            Action::Type(5),
            Action::Enter,
        ],
    );
}
