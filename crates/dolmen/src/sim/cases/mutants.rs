//! With a deliberate bug, the scenario that must detect it fails.

use std::panic::catch_unwind;

use super::*;
use crate::kernel::sim::mutants::{Mutant, activate};

/// A scenario that cannot fail shows nothing: with the bug that it must detect, it does fail.
#[test]
fn each_scenario_fails_with_its_mutant() {
    let scenarios: &[(fn(), Mutant)] = &[
        (operations::hc03_a_removal_ends_what_is_pending_although_nobody_else_stirs, Mutant::CancelNothing),
        (operations::hc03_a_removal_ends_what_is_pending_although_nobody_else_stirs, Mutant::DropFinalPacket),
        (operations::hc05_a_late_packet_does_not_reach_the_next_holder_of_the_descriptor, Mutant::IgnoreGeneration),
        (removals::hc09_what_the_first_handler_of_a_batch_removes_the_second_does_not_see, Mutant::ForgetRemoval),
        (listeners::hc10_a_listener_out_of_descriptors_says_so_once_pauses_and_goes_on, Mutant::NoAcceptPause),
        (listeners::hc10_at_the_limit_of_descriptors_failures_are_reported_once_a_second, Mutant::ReportEachFailure),
        (operations::hc11_success_at_once_counts_once_with_a_packet_and_without, Mutant::DoubleSyncSuccess),
        (receiving::hc12_a_receive_of_zero_bytes_that_completes_is_no_end, Mutant::ZeroBytesIsEnd),
        (receiving::hc13_what_arrives_between_a_pause_and_a_resume_is_kept, Mutant::LoseHeldBytes),
        (receiving::hc13_what_arrives_between_a_pause_and_a_resume_is_kept, Mutant::ForgetResume),
        (receiving::hc14_fin_reset_and_a_peer_that_is_gone_are_three_things, Mutant::EndTwice),
        (closing::hc15_a_goodbye_arrives_whole_although_bytes_were_left_unread, Mutant::NoLinger),
        (sending::hc18_partial_sends_lose_nothing_and_send_nothing_twice, Mutant::ResendPartial),
        (sending::hc18_a_posted_send_is_reported_once_and_not_before_all_of_it_is_through, Mutant::WrittenEarly),
        (sending::hc18_a_posted_send_is_reported_once_and_not_before_all_of_it_is_through, Mutant::WrittenTwice),
        (sending::hc18_a_socket_that_was_released_with_a_send_in_flight_is_not_adopted_again, Mutant::ForgetCut),
        (mailbox::hc38_posts_that_are_waiting_are_neither_merged_nor_lost, Mutant::NewestFirst),
        (many::hc19_a_source_that_is_always_ready_starves_nobody, Mutant::ServeNewestFirst),
        (time::hc21_a_timer_of_300_microseconds_costs_at_most_two_polls, Mutant::TruncateTimeout),
        (time::hc21_short_timers_and_waits_are_exact_on_a_machine_whose_clock_ticks_slowly, Mutant::ForgetAlarm),
        (time::hc22_waits_that_return_early_make_no_timer_early, Mutant::EarlyTimer),
        (time::hc23_a_timer_that_never_comes_is_no_timer_of_now, Mutant::LoseWake),
        (removals::hc05_the_number_of_a_released_connection_is_the_next_ones_at_once, Mutant::ReleaseLater),
        (removals::hc09_a_poll_that_an_earlier_handler_removes_is_silent, Mutant::ForgetRemoval),
        (removals::hc09_a_poll_that_an_earlier_handler_removes_is_silent, Mutant::ForgetPoll),
        (receiving::hc33_a_second_receive_is_not_posted_and_the_order_is_kept, Mutant::UngatedReceive),
        (sending::hc35_a_full_queue_refuses_takes_nothing_and_reports_room_once, Mutant::UnboundedQueue),
        (sending::hc35_a_full_queue_refuses_takes_nothing_and_reports_room_once, Mutant::ForgetDrained),
        (sending::hc35_room_is_reported_once_for_all_that_was_refused_before_a_wait, Mutant::ForgetDrained),
        (
            sending::hc35_room_that_is_to_be_reported_is_forgotten_when_the_sending_side_is_closed,
            Mutant::DrainedBehindEnd,
        ),
        (sending::hc35_what_was_refused_fits_when_room_is_reported, Mutant::TrustOldRoom),
        (mailbox::hc38_posts_that_are_waiting_are_neither_merged_nor_lost, Mutant::ForgetLeftPosts),
        (failed_sends::hc43_a_flood_after_a_failed_send_is_not_received, Mutant::EndlessAfterFailure),
        (failed_sends::hc43_a_pause_holds_after_a_failed_send_and_the_connection_ends_all_the_same, Mutant::ForgetPause),
        (
            failed_sends::hc43_an_adopted_connection_is_received_from_only_when_asked_to_also_after_a_failed_send,
            Mutant::UngatedReceive,
        ),
        (removals::events_that_did_not_fit_are_rechecked_before_they_are_delivered, Mutant::TrustOldReadiness),
        (closing::hc44_a_close_after_an_unreported_reset_is_a_reset, Mutant::ResetIsFailure),
        (memory::hc45_no_memory_for_a_send_or_a_receive_is_a_pause_and_not_the_end, Mutant::GiveUpTransfer),
        (memory::hc45_no_memory_for_a_send_or_a_receive_is_a_pause_and_not_the_end, Mutant::ForgetTransfer),
        (sending::hc45_one_send_hands_the_kernel_no_more_than_its_share, Mutant::UncappedSend),
        (mailbox::hc42_a_signal_that_fails_does_not_suppress_a_later_one, Mutant::TrustFailedSignal),
        (mailbox::hc42_an_inbox_is_reported_until_it_is_drained_and_then_its_end, Mutant::ForgetLeftValues),
        (mailbox::hc42_an_inbox_is_reported_until_it_is_drained_and_then_its_end, Mutant::EndBeforeValues),
        (mailbox::hc42_an_inbox_is_reported_until_it_is_drained_and_then_its_end, Mutant::EndWithValues),
        (mailbox::hc42_an_inbox_is_reported_until_it_is_drained_and_then_its_end, Mutant::ReportDrained),
        (
            operations::hc40_a_submission_that_fails_with_a_warning_keeps_its_memory_until_its_packet,
            Mutant::WarningIsFailure,
        ),
        (connecting::hc59_a_socket_that_is_connected_to_itself_counts_as_refused, Mutant::TalkToItself),
        (connecting::hc59_a_full_backlog_is_tried_again, Mutant::ForgetDial),
        (connecting::hc60_a_stream_is_complete_before_anything_is_done_with_it, Mutant::SkipFinishConnect),
        (connecting::p07_a_connect_that_is_cancelled_leaves_nothing, Mutant::KeepDials),
        (lookups::p07_a_late_answer_is_not_the_next_holders, Mutant::LateAnswer),
        (lookups::answers_that_do_not_fit_come_with_the_next_waits, Mutant::ForgetAnswers),
        (lookups::a_silent_address_delays_the_next_one_by_250_milliseconds, Mutant::OneAddressAtATime),
        (outer_loop::p02_an_outer_loop_that_blocks_for_the_next_timeout_misses_nothing, Mutant::BlockWithWork),
        (outer_loop::p02_an_outer_loop_that_blocks_for_the_next_timeout_misses_nothing, Mutant::BlockPastTimers),
        (datagrams::hc62_a_failure_that_the_network_reports_ends_no_receive, Mutant::UnreachableEndsReceives),
        (datagrams::an_empty_datagram_is_delivered_and_sent, Mutant::DropEmptyDatagram),
        (
            datagrams::hc61_a_receive_of_datagrams_has_a_buffer_even_when_the_pool_has_none_to_spare,
            Mutant::ForgetTruncated,
        ),
        (
            datagrams::hc62_a_send_that_collects_the_failure_of_an_earlier_one_is_made_again,
            Mutant::DropAtFirstFailure,
        ),
        (files::results_of_files_that_do_not_fit_are_reported_by_the_next_waits, Mutant::ForgetLeftFiles),
        (files::p07_a_cancelled_operation_on_a_file_is_silent_wherever_it_is, Mutant::ForgetFileRemoval),
        (files::p07_a_cancelled_operation_on_a_file_is_silent_wherever_it_is, Mutant::CountCancelledFile),
        (files::a_file_that_cannot_be_read_ends_its_connection_with_a_reset, Mutant::SendBehindHole),
        (files::p09_files_are_sent_between_the_sends_before_and_after_them, Mutant::SendPastFile),
        (files::a_close_sends_files_and_a_removal_forgets_them, Mutant::FinBeforeFile),
        (transmitting::a_short_transmission_is_the_last_of_its_file_and_the_rest_is_read, Mutant::CountWholeTransmit),
        (transmitting::hc65_nothing_follows_a_transmission_that_has_failed, Mutant::ReadAfterFailedTransmit),
        (transmitting::a_peer_that_stalls_delays_no_file_but_its_own, Mutant::WaitForTransmit),
        (files::short_writes_of_a_file_are_continued_until_all_is_written, Mutant::WriteOnce),
        (operations::hc41_packets_that_are_not_ours_are_counted_and_dropped, Mutant::TrustEveryPacket),
    ];
    let mut undetected = Vec::new();
    for &(scenario, mutant) in scenarios {
        activate(Some(mutant));
        if catch_unwind(scenario).is_ok() {
            undetected.push(mutant);
        }
        activate(None);
        scenario();
    }
    assert_eq!(undetected, [], "bugs that their scenarios do not detect");
}

/// The two bugs that release memory that is lent. Miri must stop each of these tests; if it does not, they pass.
#[cfg(miri)]
mod for_miri {
    use super::*;
    use crate::kernel::sim::mutants::{Mutant, activate};

    fn write_after_cancel(mutant: Mutant) {
        activate(Some(mutant));
        let mut fixture = Fixture::new(Style::Completion);
        let (conn, _) = fixture.connect();
        assert!(fixture.turn().is_empty());
        fixture.faults(|faults| (faults.early_write, faults.delay) = (100, 100));
        assert!(fixture.engine.remove(conn));
        // Cancels first. Then the kernel writes to the memory that it was lent.
        fixture.turn();
    }

    #[test]
    #[allow(non_snake_case)]
    fn FreeBufferAtCancel() {
        write_after_cancel(Mutant::FreeBufferAtCancel);
    }

    #[test]
    #[allow(non_snake_case)]
    fn RecycleAtCancel() {
        write_after_cancel(Mutant::RecycleAtCancel);
    }
}
