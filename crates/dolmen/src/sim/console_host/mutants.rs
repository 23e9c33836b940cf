//! Deliberate bugs of the reader of lines. The patches of `crates/sim/mutants` put them into a copy of the workspace.

crate::mutants! {
    /// A deliberate bug of the reader of lines.
    Mutant {
        /// The keys that end a read are the control character alone.
        LeaveEndOut,
        /// End comes once.
        PressEndOnce,
        /// The keys are pressed once for each read, and taken as arrived.
        PressOnce,
        /// They are pressed again only when another command comes.
        PressForCommandsOnly,
        /// Reads that Ctrl-C ended are not counted, so that its command discards a later line.
        ForgetInterruptedReads,
        /// The count starts anew with each read that returns something.
        RestartInterruptedReads,
        /// A read that Ctrl-C ended leaves the beginning of the line.
        KeepBeginning,
        /// The text of a read that was ended is not given to the next one.
        ForgetLine,
        /// Text typed without echo is not kept when echo is switched on.
        ForgetUnseen,
        /// The control character is taken for text.
        KeepControlCharacter,
        /// The line in progress does not become raw input.
        ForgetLineForRaw,
        /// A print goes ahead of those before it.
        PrintLastFirst,
    }
}
