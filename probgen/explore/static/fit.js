// The fit, also while it runs: its journal is asked for what is new, twice a second.
export function follow() {}
