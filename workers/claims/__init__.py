"""Claims datasets and what is computed of them."""
