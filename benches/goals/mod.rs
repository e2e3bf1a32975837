//! How far a figure may go.

#[derive(Debug, Default)]
pub(crate) struct Goals {
    missed: bool,
}

impl Goals {
    pub(crate) fn at_most(&mut self, what: &str, figure: f64, limit: f64) {
        // What is no number has met nothing.
        let met = figure <= limit;
        let missed = !met;
        let verdict = if missed { "MISSED" } else { "met" };
        println!("{verdict}: {what}: {figure:.3}, at most {limit}");
        self.missed |= missed;
    }

    /// Ends the process with an error if a goal was missed.
    pub(crate) fn conclude(self) {
        if self.missed {
            std::process::exit(1);
        }
    }
}
