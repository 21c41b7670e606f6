"""The migration campaign as a whole: preflight, plan, simulation, completeness, inspection and sign-off."""
