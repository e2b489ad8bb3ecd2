"""The doors a host walks through: hook implementations only; nothing imports them, they load nothing heavy."""
