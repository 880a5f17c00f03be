"""At toy size: ./run_single_ofat.sh ofat_lr0.01_bs8_adamw_ep100 --debug"""

from .._toy import toy

globals().update(toy("ofat_lr0.01_bs8_adamw_ep100"))
